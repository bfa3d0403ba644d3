exports.shift = (number) => number * 256;
