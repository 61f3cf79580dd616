// liquid_rate.js - how long one render of a parsed template takes liquidjs:
//   node liquid_rate.js TEMPLATE DATA.json SECONDS RESULT [plain]
// writes what one render gives to RESULT and prints the microseconds of the mean one, compilers warm.
const fs = require('fs')
const { Liquid } = require('liquidjs')

const [template, data, seconds, result, plain] = process.argv.slice(2)
const engine = new Liquid(plain ? {} : { outputEscape: 'escape' })
const program = engine.parse(fs.readFileSync(template, 'utf8'))
const values = JSON.parse(fs.readFileSync(data, 'utf8'))

function rate (ns) {
  const began = process.hrtime.bigint()
  let renders = 0; let took = 0n; let out
  while (took < ns) {
    for (let i = 0; i < 256; i++, renders++) out = engine.renderSync(program, values)
    took = process.hrtime.bigint() - began
  }
  return [Number(took) / 1000 / renders, out]
}

const ns = BigInt(Math.round(seconds * 1e9))
rate(ns / 3n)
const [us, out] = rate(ns)
fs.writeFileSync(result, out)
console.log(us.toFixed(4))
