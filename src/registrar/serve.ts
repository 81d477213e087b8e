import { disableCoreDumps, setNotDumpable } from 'metabind-linux'
import { causeChain, MetabindError } from '../errors.ts'
import { closeLog, type Log, openLog } from '../log.ts'
import { feedWatchdog, type ServiceManager, serviceManager, showEnd } from '../service-manager.ts'
import { VERSION } from '../version.ts'
import { type Registrar, startRegistrar } from './registrar.ts'
import { type RegistrarConfig, readRegistrarConfig } from './registrar-config.ts'

/**
 * Serves until SIGTERM or SIGINT. SIGHUP reads the configuration again. systemd is told what it asked to be told.
 *
 * @param files of the configuration
 * @throws MetabindError what readRegistrarConfig and startRegistrar throw, after systemd was told
 */
export async function serve(files: readonly string[]): Promise<void> {
  // Keys of this process must not reach a core file or a debugger of the same user.
  setNotDumpable()
  disableCoreDumps()
  process.title = 'metabind-registrar'
  const config = await configOrTold(files)
  const log = openLog(config.log.level)
  const untold = (error: unknown) =>
    log.warn({ cause: causeChain(error) }, 'systemd could not be told')
  const manager = serviceManager(untold)
  const ended = endSignal()
  const starting = startRegistrar(config, log)
  reloadOnHangup(files, starting, log, manager)
  try {
    const registrar = await starting
    log.info({ version: VERSION, url: config.url, port: registrar.port }, 'listening')
    manager.ready(`serving ${config.url}`)
    // Not before: making keys may take a slow machine longer than the watchdog waits, and has a time of its own.
    feedWatchdog(process.env, process.pid, untold)
    log.info({ signal: await ended }, 'ending')
    manager.stopping()
    await registrar.close()
  } catch (error) {
    log.error({ cause: causeChain(error) }, 'cannot go on')
    await Promise.race([showEnd(causeChain(error), true), ended])
    throw error
  } finally {
    await closeLog(log)
  }
}

async function configOrTold(files: readonly string[]): Promise<RegistrarConfig> {
  try {
    return readRegistrarConfig(files)
  } catch (error) {
    // What of a configuration file is wrong is in its own message. Signals still end the process here.
    await showEnd(error instanceof MetabindError ? error.message : causeChain(error), true)
    throw error
  }
}

function endSignal(): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>()
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, resolve)
  return promise
}

/** From the beginning on, as the signal would end a process that does not take it; what it asks for waits for the start. */
function reloadOnHangup(
  files: readonly string[],
  starting: Promise<Registrar>,
  log: Log,
  manager: ServiceManager,
): void {
  const reload = async (): Promise<void> => {
    try {
      const kept = (await starting).reload(() => readRegistrarConfig(files))
      log.info({ kept }, 'configuration reloaded; what is kept needs a restart')
    } catch (error) {
      log.error({ cause: causeChain(error) }, 'configuration not reloaded; the old one stays')
    }
  }
  // One after the other, so that what was written last is what holds.
  let last: Promise<void> = starting.then(
    () => undefined,
    () => undefined,
  )
  process.on('SIGHUP', () => {
    last = last.then(() => manager.reloading(reload))
  })
}
