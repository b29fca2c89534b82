// Print Khronos' validation report of a GLB file as JSON: node validate.cjs FILE
const { readFileSync } = require("node:fs");
const validator = require("gltf-validator");

validator
  .validateBytes(new Uint8Array(readFileSync(process.argv[2])), { maxIssues: 100 })
  .then((report) => console.log(JSON.stringify(report)));
