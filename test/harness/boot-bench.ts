import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { pino } from 'pino'
import { bootTimeMs } from 'tpm2-js/linux'
import { cachedMetadata } from '../../src/agent/metadata-cache.ts'
import { sourceBounds } from '../../src/agent/settings.ts'
import type { ReadyState } from '../../src/agent/startup.ts'
import { type BootRun, bootRun } from '../../src/agent/startup-loop.ts'
import { bootParts } from '../../src/agent/startup-parts.ts'
import { readTrust } from '../../src/agent/trust-files.ts'
import { parseConfig } from '../../src/config.ts'
import { DIALECTS } from '../../src/dialect/dialects.ts'
import { type InstanceTpm, instanceTpm } from '../../src/identity/tpm.ts'
import { openSource } from '../../src/metadata/source.ts'

const SILENT = pino({ level: 'silent', customLevels: { notice: 35 } })
const UNSUPERVISED = { ready: () => undefined, notReady: () => undefined }

/** The agent's way to ready in this process, without its sockets and without waiting. */
export interface BootBench extends AsyncDisposable {
  /** The one that the last boot has opened. */
  readonly tpm: InstanceTpm
  /**
   * Boots from nothing, on what earlier boots have left in the directory.
   *
   * @param onWait told of each try that failed, in place of the pause before the next
   */
  boot(onWait: (run: BootRun) => unknown): Promise<ReadyState>
}

/** @param endpoint of a metadata service whose documents are not looked at */
export async function bootBench(
  directory: string,
  tcti: string,
  endpoint: string,
): Promise<BootBench> {
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
  const cached = cachedMetadata(config, dialect, source, SILENT)
  const trust = readTrust(config)
  const open = () => instanceTpm(tcti, config.tpm.command_timeout_ms)
  let tpm = open()
  return {
    get tpm() {
      return tpm
    },
    boot: async (onWait) => {
      await tpm.close()
      tpm = open()
      const parts = bootParts(config, dialect, tpm, cached.metadata, () => trust, SILENT)
      const pause = async (): Promise<void> => void (await onWait(run))
      const run = bootRun(UNSUPERVISED, SILENT, new AbortController().signal, pause)
      return run.toReady(parts)
    },
    [Symbol.asyncDispose]: async () => {
      cached.stop()
      await Promise.all([source.close(), tpm.close()])
    },
  }
}
