import { bootTimeMs } from 'metabind-linux'
import { type Alarms, alarms } from '../audit/alarms.ts'
import type { Audit, AuditRecord } from '../audit/audit.ts'
import type { ChainHead } from '../audit/chain.ts'
import { openChainHeadFile } from '../audit/chain-head-file.ts'
import { type CheckpointSigner, type Checkpoints, startCheckpoints } from '../audit/checkpoint.ts'
import { openAuditFile } from '../audit/file.ts'
import { type TokenRates, tokenRates } from '../audit/token-rates.ts'
import { auditWriter } from '../audit/writer.ts'
import type { Config } from '../config.ts'
import { causeChain, type MetabindError } from '../errors.ts'
import { es256Signature } from '../format/jws.ts'
import { keyObjectOf } from '../format/tpm-key.ts'
import { parsePublic } from '../format/tpm-public.ts'
import type { SkSigner } from '../identity/sk-signer.ts'
import type { PublicKey } from '../identity/tpm.ts'
import type { Log } from '../log.ts'
import type { Counters } from '../relay/counters.ts'

/** The audit records of one agent: the log, and the chain in a file if one is configured. */
export interface AuditTrail {
  readonly audit: Audit
  /** The end of the chain in the file. */
  head(): ChainHead | undefined
  /** The last checkpoint that this process has made. */
  lastCheckpoint(): { readonly of: ChainHead; readonly atMs: number } | undefined
  readonly alarms: Alarms
  readonly tokenRates: TokenRates
  /** Goes on in a new file. */
  rotate(): void
  /** From here on the end of the chain is signed at intervals. */
  signWith(signer: SkSigner, sk: PublicKey): void
  /** Writes what was only counted, then the last record; signs the end once more and closes the file. */
  close(last: AuditRecord): Promise<void>
}

// The TPM may be what the agent ends for.
const LAST_CHECKPOINT_MS_MAX = 3000

/** @throws MetabindError DIRECTORY_UNSAFE, DIRECTORY_FAULT if the file cannot be used */
export function openAuditTrail(config: Config, log: Log, counters: Counters): AuditTrail {
  const logFault = (error: MetabindError) =>
    log.error({ code: error.code, cause: causeChain(error) }, 'audit file')
  const path = config.audit.file
  const headFile =
    path === undefined ? undefined : openChainHeadFile(config.directories.state, path, logFault)
  const watcher = {
    onFault: logFault,
    onLost: () => {
      counters.auditLost += 1
    },
  }
  const file = path === undefined ? undefined : openAuditFile(path, watcher, headFile)
  const writer = auditWriter({ log, isAllLogged: config.audit.journal, file }, bootTimeMs, {
    onRecord: () => {
      counters.auditRecords += 1
    },
    onSuppressed: () => {
      counters.auditSuppressed += 1
    },
  })
  const watched = { alarms: alarms(Date.now), tokenRates: tokenRates(bootTimeMs) }
  let lastCheckpoint: ReturnType<AuditTrail['lastCheckpoint']>
  const audit: Audit = (record) => {
    watched.alarms.note(record)
    watched.tokenRates.note(record)
    if (record.checkpoint !== undefined) {
      lastCheckpoint = { of: record.checkpoint.of, atMs: Date.now() }
    }
    writer.audit(record)
  }
  let checkpoints: Checkpoints | undefined
  return {
    audit,
    ...watched,
    head: () => file?.head(),
    lastCheckpoint: () => lastCheckpoint,
    rotate: () => file?.rotate(),
    signWith: (signer, sk) => {
      if (file === undefined) return
      const everyMs = config.audit.checkpoint_seconds * 1000
      checkpoints = startCheckpoints(file, checkpointSigner(signer, sk), audit, everyMs, logFault)
    },
    close: async (last) => {
      writer.end()
      audit(last)
      checkpoints?.end()
      const giveUp = new Promise((resolve) => setTimeout(resolve, LAST_CHECKPOINT_MS_MAX).unref())
      // One that is under way does not cover what was recorded since it began.
      const signed = checkpoints?.now().then(checkpoints.now)
      await Promise.race([signed, giveUp])
      await file?.close()
      headFile?.close()
    },
  }
}

function checkpointSigner(signer: SkSigner, sk: PublicKey): CheckpointSigner {
  const spki = keyObjectOf(parsePublic(sk.publicArea)).export({ type: 'spki', format: 'der' })
  return {
    key: spki.toString('base64'),
    sign: async (message) => es256Signature(await signer.sign(message)),
  }
}
