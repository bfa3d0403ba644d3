const { total } = require("../../codec/lecture");
const table = require("./table.json");
function decodeUplink(input) {
  return { data: { index: total(input.bytes) * table.litres, unit: "L" }, errors: [], warnings: [] };
}
exports.decodeUplink = decodeUplink;
