// Loaded before the agent by ./dev soak: writes what V8 and libuv hold, where SOAK_PROBE says, every few seconds. With
// --expose-gc it is what is left after a collection.
const { writeFileSync } = require('node:fs')

const EVERY_MS = 5000

function look() {
  globalThis.gc?.()
  const resources = {}
  for (const name of process.getActiveResourcesInfo()) resources[name] = (resources[name] ?? 0) + 1
  const { heapUsed, heapTotal, external, arrayBuffers } = process.memoryUsage()
  const seen = { heapUsed, heapTotal, external, arrayBuffers, resources }
  writeFileSync(process.env.SOAK_PROBE, JSON.stringify(seen))
}

setInterval(look, EVERY_MS).unref()
