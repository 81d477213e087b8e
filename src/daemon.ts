#!/usr/bin/env node
import { existsSync, writeSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { disableCoreDumps, exitAtOnce, setNotDumpable } from 'metabind-linux'
import { type Agent, startAgent } from './agent/agent.ts'
import { inheritedSockets } from './agent/socket-activation.ts'
import { CONFIG_FILE, type Config, readConfig } from './config.ts'
import { ERRORS } from './error-table.ts'
import { causeChain, MetabindError, nodeErrorCode, systemReason } from './errors.ts'
import { closeLog, type Log, openLog } from './log.ts'
import { type Counters, newCounters } from './relay/counters.ts'
import { feedWatchdog, type ServiceManager, serviceManager, showEnd } from './service-manager.ts'
import { VERSION } from './version.ts'

const HELP = `Usage: metabindd [--config FILE]...

The metabind agent: session tokens bound to this instance's TPM, and its
metadata on a Unix socket.

  --config FILE  the configuration (default ${CONFIG_FILE}, if
                 there is one); given more than once, a key in a later file
                 replaces that of an earlier one
  -V, --version  print the version
  -h, --help     print this text

Signals: SIGHUP reads the configuration again, SIGUSR1 goes on in a new audit
file, SIGTERM and SIGINT end the agent.
`

/** Reads the command line. @returns the configuration files, or undefined if all has been said */
function readArguments(): readonly string[] | undefined {
  const { values } = parseArgs({
    options: {
      config: { type: 'string', multiple: true },
      version: { type: 'boolean', short: 'V', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  if (values.help) say(HELP)
  else if (values.version) say(`metabindd ${VERSION}\n`)
  else return values.config ?? (existsSync(CONFIG_FILE) ? [CONFIG_FILE] : [])
  return undefined
}

function say(text: string): void {
  try {
    writeSync(1, text)
  } catch (error) {
    // Whoever has closed the pipe has seen enough: as of a process that SIGPIPE has ended.
    if (nodeErrorCode(error) === 'EPIPE') exitAtOnce(141)
    process.stderr.write(`metabindd: the output could not be written: ${systemReason(error)}\n`)
    exitAtOnce(1)
  }
}

/** Keys of this process must not reach a core file or a debugger of the same user. */
function hardenProcess(): void {
  setNotDumpable()
  disableCoreDumps()
}

/** Ends the process with a status, once: what comes after the first call changes nothing. */
type End = (status: number, how: Parameters<Agent['end']>[0]) => void

/**
 * The one way out of a started agent; each of its steps is bounded. Not process.exit(): that waits for
 * a TPM that never answers.
 */
function ender(agent: Agent, log: Log, manager: ServiceManager): End {
  let isEnding = false
  let hasBegun = false
  agent.started.then(
    () => {
      hasBegun = true
    },
    () => undefined,
  )
  return (status, how) => {
    if (isEnding) return
    isEnding = true
    manager.stopping()
    const said = agent.end(how).then(() => closeLog(log))
    void said.finally(() => ('why' in how ? fail(how.why, !hasBegun) : exitAtOnce(status)))
  }
}

function endOn(signal: NodeJS.Signals, end: End, log: Log): void {
  process.on(signal, () => {
    log.info({ signal }, 'ending')
    end(0, { answering: true })
  })
}

/** A fault of the program: nobody knows what still holds, so nothing more is answered. */
function endOnFault(end: End, log: Log): void {
  let isFirst = true
  // Rejections that nobody handles come here, too.
  process.on('uncaughtException', (why: unknown) => {
    if (isFirst) log.error({ cause: causeChain(why), stack: stackOf(why) }, 'fault of the program')
    isFirst = false
    end(1, { answering: false, why })
  })
}

function stackOf(error: unknown): string | undefined {
  return error instanceof Error ? error.stack : undefined
}

function reloadOnHangup(
  files: readonly string[],
  agent: Agent,
  log: Log,
  manager: ServiceManager,
): void {
  const reload = async (): Promise<void> => {
    try {
      await agent.reload(readConfig(files))
      log.info('configuration reloaded; sections but policy, token and log need a restart')
    } catch (error) {
      agent.audit({ event: 'config.refused', detail: causeChain(error) })
      log.error({ cause: causeChain(error) }, 'configuration not reloaded; the old one stays')
    }
  }
  // One after the other, so that what was written last is what holds.
  let last = Promise.resolve()
  process.on('SIGHUP', () => {
    last = last.then(() => manager.reloading(reload))
  })
}

/** The chain of causes for people: in words of the system, not by names of its errors. */
function withoutErrno(error: unknown): string {
  // What of a configuration file is wrong is in its own message.
  if (error instanceof MetabindError && error.code.startsWith('CONFIG_')) return error.message
  return causeChain(error).replaceAll(/\bE[A-Z0-9]{3,}:? /g, '')
}

/** @param mayStay whether systemd gets time to show why, as nobody is served any less for it */
function fail(error: unknown, mayStay = true): void {
  const remedy = error instanceof MetabindError ? ` ${ERRORS[error.code].remedy}` : ''
  const reason = `${withoutErrno(error)}${remedy}`
  process.stderr.write(`metabindd: ${reason}\n`)
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.removeAllListeners(signal).on(signal, () => exitAtOnce(1))
  }
  void showEnd(reason, mayStay).then(() => exitAtOnce(1))
}

function run(files: readonly string[], config: Config): void {
  hardenProcess()
  process.title = 'metabindd'
  const counters = newCounters()
  const log = openLog(config.log.level, () => {
    counters.logLost += 1
  })
  log.info({ version: VERSION, node: process.version, config: files }, 'starting')
  try {
    start(files, config, log, counters)
  } catch (error) {
    log.error({ cause: causeChain(error) }, 'cannot go on')
    void closeLog(log).then(() => fail(error))
  }
}

function start(files: readonly string[], config: Config, log: Log, counters: Counters): void {
  const untold = (error: unknown) =>
    log.warn({ cause: causeChain(error) }, 'systemd could not be told')
  const manager = serviceManager(untold)
  feedWatchdog(process.env, process.pid, untold)
  const inherited = inheritedSockets(process.env, process.pid)
  const agent = startAgent(config, log, manager, counters, inherited)
  const end = ender(agent, log, manager)
  endOnFault(end, log)
  endOn('SIGTERM', end, log)
  endOn('SIGINT', end, log)
  reloadOnHangup(files, agent, log, manager)
  process.on('SIGUSR1', () => agent.rotateAudit())
  const cannotGoOn = (why: unknown): void => {
    if (why instanceof Error && why.name === 'AbortError') return
    log.error({ cause: causeChain(why) }, 'cannot go on')
    end(1, { answering: true, why })
  }
  agent.started.catch(cannotGoOn)
  agent.failed.catch(cannotGoOn)
}

function main(): void {
  let files: ReturnType<typeof readArguments>
  try {
    files = readArguments()
  } catch (error) {
    const [said = ''] = causeChain(error).split('. To specify a positional argument', 1)
    process.stderr.write(`metabindd: ${said.replaceAll('\n', ' ')} (try metabindd --help)\n`)
    process.exit(2)
  }
  if (files === undefined) return
  try {
    run(files, readConfig(files))
  } catch (error) {
    fail(error)
  }
}

main()
