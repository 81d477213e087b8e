import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { cpus, loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { Agent, Client } from 'undici'
import { type RegistrarProcess, startRegistrarProcess } from '../../test/fleet/registrar-process.ts'
import { evidenceFor } from '../../test/fleet/software-instance.ts'
import { residentMib } from '../process.ts'
import {
  AUDIENCES,
  enrolClient,
  exchangeToken,
  type FleetClient,
  persistently,
  type Registrar,
} from './client.ts'
import { inParallel, type Phase, PhaseMeter } from './phase.ts'
import { prepareFleet } from './prepared.ts'
import { phaseTable, type Report, type Size, sizeTable } from './table.ts'

/**
 * `./dev bench fleet [--instances N] [--json FILE]`: simulated instances, whose keys are software's and whose evidence is real,
 * against a registrar as a process: what it does in a second, what it costs, and what becomes of it when all of them
 * come at once. Nothing of a registrar's configuration is other than it is by default.
 */

const { values } = parseArgs({
  options: {
    instances: { type: 'string', default: '10000' },
    json: { type: 'string' },
    keys: {
      type: 'string',
      default: fileURLToPath(new URL('../../.dev/fleet.json', import.meta.url)),
    },
  },
})
const count = Number(values.instances)
if (!Number.isInteger(count) || count < 1 || count > 1_000_000) {
  process.stderr.write('fleet: --instances is a number from 1 to 1000000\n')
  process.exit(2)
}

/** Under way at once, as the workers of a proxy that keeps its connections are. */
const AT_A_TIME = 64
const PROXY_CONNECTIONS = 256

const [loadBefore = Number.NaN] = loadavg()
const fleet = await prepareFleet(values.keys, count)
const clients = fleet.instances.map(
  (instance, number): FleetClient => ({
    ...{ instance, number, generation: 0 },
    address: addressOf(10, number),
  }),
)
const directory = mkdtempSync(join(tmpdir(), 'metabind-fleet-'))
process.once('exit', () => rmSync(directory, { recursive: true, force: true }))
const audiences = Object.entries(AUDIENCES)
  .map(([algorithm, name]) => `[[audience]]\nname = "${name}"\nalgorithm = "${algorithm}"\n`)
  .join('')
const configuration = `request_burst = 60\n${fleet.trust(directory)}${audiences}`
const proxy = new Agent({ connections: PROXY_CONNECTIONS, headersTimeout: 0 })
let running = await started()
const idleMib = residentMib(running.pid)
const sizes: Size[] = []
const registrar: Registrar = {
  url: running.url,
  dispatcher: proxy,
  get origin() {
    return running.origin
  },
}

const phases: Phase[] = [
  await steady('enrolment', (client) => enrolClient(registrar, client)),
  await steady('renewal', (client) => enrolClient(registrar, client)),
  await steady('token, RS256', (client) => exchangeToken(registrar, client, AUDIENCES.RS256)),
  await steady('token, ES256', (client) => exchangeToken(registrar, client, AUDIENCES.ES256)),
  await storm('storm through a proxy', (client) => enrolClient(registrar, client)),
  await storm('storm without one', directly),
]
const status = readFileSync(`/proc/${running.pid}/status`, 'utf8')
const peakMib = Number(/VmHWM:\s+(\d+)/.exec(status)?.[1]) / 1024
await running.end()
await proxy.close()

const [{ model = 'unknown' } = {}, ...more] = cpus()
const report: Report = {
  node: process.version,
  machine: { model, cores: more.length + 1, loadBefore },
  instances: count,
  evidenceBytes: evidenceBytes(),
  phases,
  memory: { idleMib, peakMib },
  sizes,
}
process.stdout.write(`${phaseTable(phases)}\n${sizeTable(report)}`)
if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(report, null, 2)}\n`)

async function started(): Promise<RegistrarProcess> {
  const registrar = await startRegistrarProcess(join(directory, 'registrar'), configuration)
  // What fails leaves none behind.
  process.once('exit', () => void registrar.end('SIGKILL'))
  return registrar
}

/** Each instance once, a bounded number of them at a time. */
async function steady(name: string, act: (client: FleetClient) => Promise<void>): Promise<Phase> {
  const meter = new PhaseMeter(running.pid)
  await inParallel(clients, AT_A_TIME, async (client) => {
    const beganMs = performance.now()
    await persistently(
      () => act(client),
      ({ why }) => meter.refused(why),
    )
    meter.took(performance.now() - beganMs)
  })
  return ended(meter, name)
}

/** The registrar is away, all instances want to enrol, and it comes back. Each takes as long as it takes since then. */
async function storm(name: string, act: (client: FleetClient) => Promise<void>): Promise<Phase> {
  await running.end()
  let meter: PhaseMeter | undefined
  const all = clients.map(async (client) => {
    await persistently(
      () => act(client),
      ({ why }) => meter?.refused(why),
    )
    meter?.took(meter.elapsedMs)
  })
  running = await started()
  meter = new PhaseMeter(running.pid)
  await Promise.all(all)
  return ended(meter, name)
}

/** Over a connection of the instance's own, from an address of its own: no proxy has them wait. */
async function directly(client: FleetClient): Promise<void> {
  const { origin, url } = registrar
  const localAddress = addressOf(127, client.number)
  const own = new Client(origin, { localAddress, headersTimeout: 30_000 })
  try {
    await enrolClient({ origin, url, dispatcher: own }, client)
  } finally {
    await own.destroy()
  }
}

function ended(meter: PhaseMeter, name: string): Phase {
  const phase = meter.end(name)
  const files = ['', '-wal'].map((end) =>
    statSync(`${running.database}${end}`, { throwIfNoEntry: false }),
  )
  const databaseMib = files.reduce((sum, file) => sum + (file?.size ?? 0), 0) / 1024 / 1024
  sizes.push({ after: name, databaseMib, residentMib: residentMib(running.pid) })
  process.stderr.write(`${name}: ${phase.seconds.toFixed(1)} s\n`)
  return phase
}

function evidenceBytes(): number {
  const [instance] = fleet.instances
  const bound = { nonce: '00'.repeat(64), url: registrar.url, generation: 0 }
  return instance === undefined ? 0 : JSON.stringify(evidenceFor(instance, bound)).length
}

/** @param first byte of the address */
function addressOf(first: number, number: number): string {
  return [first, 1 + (number >> 16), (number >> 8) & 255, number & 255].join('.')
}
