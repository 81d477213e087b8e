import { mkdir, rm } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { type Instance, startInstance } from './instance.ts'

/**
 * `./dev up NAME`: one instance in the foreground. Another terminal tells it to reload or restart its
 * agent or to reboot (tell.ts) over the socket `up.sock` in its directory.
 */

const NAME = /^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$/

interface Asked {
  readonly directory: string
  readonly instanceId: string | undefined
  readonly source: string | undefined
  readonly configFiles: readonly string[]
}

/** What was typed is wrong: exit code 2. */
class WrongUsage extends Error {}

function readArguments(args: readonly string[]): Asked {
  try {
    return asked(args)
  } catch (error) {
    const [why = ''] = error instanceof Error ? error.message.split('. ', 1) : []
    throw new WrongUsage(`${why} (try ./dev help)`)
  }
}

function asked(args: readonly string[]): Asked {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      'instance-id': { type: 'string' },
      config: { type: 'string', multiple: true },
      source: { type: 'string' },
    },
  })
  const [root = '.dev', name] = positionals
  if (name === undefined || !NAME.test(name) || positionals.length > 2) {
    throw new Error('NAME is letters, digits, - and _, and one word')
  }
  const { 'instance-id': instanceId, source, config = [] } = values
  return { directory: join(root, name), instanceId, source, configFiles: config }
}

/**
 * Carries out `reload`, `restart` and `reboot`, one at a time. The socket of a killed run is replaced.
 *
 * @returns ends the listening when the order under way is carried out
 */
async function listenForOrders(path: string, instance: Instance): Promise<() => Promise<void>> {
  await rm(path, { force: true })
  let last: Promise<void> = Promise.resolve()
  const server = createServer((socket) => {
    socket.on('error', () => socket.destroy())
    socket.once('data', (order) => {
      last = last
        .then(() => obey(order.toString(), instance))
        .then(
          () => void socket.end('done'),
          (error: unknown) =>
            void socket.end(error instanceof Error ? error.message : String(error)),
        )
    })
  })
  await new Promise<void>((resolve) => server.listen(path, resolve))
  return () => {
    server.close()
    return last
  }
}

/** Two of one name would take each other's TPM away. */
async function requireAlone(path: string): Promise<void> {
  const isRunning = await new Promise<boolean>((resolve) => {
    const socket = connect(path, () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
  if (isRunning) throw new Error(`${path} answers: this instance is already up`)
}

async function obey(order: string, instance: Instance): Promise<void> {
  if (order === 'reload') await reloadAgent(instance)
  else if (order === 'restart') await instance.restartAgent()
  else if (order === 'reboot') await instance.reboot()
  else throw new Error(`unknown order ${JSON.stringify(order)}`)
}

/** @throws with the agent's reason if it keeps what it had */
async function reloadAgent({ agent }: Instance): Promise<void> {
  const before = new Set(agent.records)
  agent.child.kill('SIGHUP')
  const said = await agent.until(
    (record) => !before.has(record) && /^configuration (?:not )?reloaded/.test(record.msg ?? ''),
  )
  if (said.cause !== undefined) throw new Error(`${said.msg}: ${said.cause}`)
}

async function main(): Promise<void> {
  const asked = readArguments(process.argv.slice(2))
  await mkdir(asked.directory, { recursive: true })
  const ended = new Promise<void>((resolve) => {
    process.once('SIGINT', resolve)
    process.once('SIGTERM', resolve)
  })
  await requireAlone(join(asked.directory, 'up.sock'))
  const instance = await startInstance(asked.directory, asked)
  const stopListening = await listenForOrders(join(asked.directory, 'up.sock'), instance)
  process.stdout.write('ready\n')
  await ended
  await stopListening()
  await instance.stop()
}

try {
  await main()
} catch (error) {
  process.stderr.write(`dev up: ${error instanceof Error ? error.message : String(error)}\n`)
  process.exit(error instanceof WrongUsage ? 2 : 1)
}
