const { shift } = require("./decalage.js");
module.exports.total = (bytes) => bytes.reduce((sum, octet) => shift(sum) + octet, 0);
