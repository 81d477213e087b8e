import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { bootTimeMs } from 'metabind-linux'
import { pino } from 'pino'
import { metadataCache } from '../../src/agent/metadata-cache.ts'
import { sourceBounds } from '../../src/agent/settings.ts'
import type { ReadyState } from '../../src/agent/startup.ts'
import { startupDeps } from '../../src/agent/startup-deps.ts'
import { type StartupLoop, startupLoop } from '../../src/agent/startup-loop.ts'
import { readTrust } from '../../src/agent/trust-files.ts'
import { parseConfig } from '../../src/config.ts'
import { DIALECTS } from '../../src/dialect/dialects.ts'
import { type InstanceTpm, instanceTpm } from '../../src/identity/tpm.ts'
import { openSource } from '../../src/metadata/source.ts'

const SILENT = pino({ level: 'silent', customLevels: { notice: 35 } })
const UNSUPERVISED = { ready: () => undefined, notReady: () => undefined }

/** The agent's way to ready in this process, without its sockets and without waiting. */
export interface StartupBench extends AsyncDisposable {
  /** The one that the last startup has opened. */
  readonly tpm: InstanceTpm
  /**
   * Starts from nothing, on what earlier startups have left in the directory.
   *
   * @param onWait told of each try that failed, in place of the pause before the next
   */
  start(onWait: (run: StartupLoop) => unknown): Promise<ReadyState>
}

/** @param endpoint of a metadata service whose documents are not looked at */
export async function startupBench(
  directory: string,
  tcti: string,
  endpoint: string,
): Promise<StartupBench> {
  const at = (name: string) => join(directory, name)
  for (const name of ['run', 'state']) await mkdir(at(name), { recursive: true })
  const text = `tpm.tcti = ${JSON.stringify(tcti)}
source.endpoint = ${JSON.stringify(endpoint)}
source.identity_document = "ignore"
directories.runtime = ${JSON.stringify(at('run'))}
directories.state = ${JSON.stringify(at('state'))}
`
  const config = parseConfig([{ file: 'bench.toml', text }])
  const dialect = DIALECTS[config.source.dialect]
  const source = openSource(dialect, endpoint, sourceBounds(config), bootTimeMs)
  const cache = metadataCache(config, dialect, source, SILENT)
  const trust = readTrust(config)
  const open = () => instanceTpm(tcti, config.tpm.command_timeout_ms)
  let tpm = open()
  return {
    get tpm() {
      return tpm
    },
    start: async (onWait) => {
      await tpm.close()
      tpm = open()
      const deps = startupDeps(config, dialect, tpm, cache.metadata, () => trust, SILENT, {})
      const pause = async (): Promise<void> => void (await onWait(run))
      const run = startupLoop(UNSUPERVISED, SILENT, new AbortController().signal, pause)
      return run.toReady(deps)
    },
    [Symbol.asyncDispose]: async () => {
      cache.stop()
      await Promise.all([source.close(), tpm.close()])
    },
  }
}
