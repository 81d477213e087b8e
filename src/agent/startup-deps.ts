import { readFileSync } from 'node:fs'
import { bootTimeMs } from 'metabind-linux'
import type { Config } from '../config.ts'
import type { Dialect } from '../dialect/dialect.ts'
import { causeChain, MetabindError } from '../errors.ts'
import { type AttesterDeps, attesterOf } from '../identity/attester.ts'
import { continuityOf } from '../identity/continuity.ts'
import type { LogFiles } from '../identity/log-files.ts'
import type { InstanceTpm } from '../identity/tpm.ts'
import type { Log } from '../log.ts'
import type { Metadata } from '../metadata/metadata.ts'
import { ofPath } from '../metadata/target.ts'
import { sealedFiles } from '../storage/sealed-files.ts'
import { loadRevocations } from '../token/revocations.ts'
import { loadSalt } from '../token/salt.ts'
import type { ParsedTrust } from '../verify/trust.ts'
import type { InheritedSockets } from './socket-activation.ts'
import type { StartupDeps } from './startup.ts'
import { readAkCertificates } from './trust-files.ts'

const BOOT_ID_FILE = '/proc/sys/kernel/random/boot_id'

/** What the steps of the startup work with, put together from the configuration and the agent's parts. */
export function startupDeps(
  config: Config,
  dialect: Dialect,
  tpm: InstanceTpm,
  metadata: Metadata,
  trust: () => ParsedTrust,
  log: Log,
  inherited: InheritedSockets,
): StartupDeps {
  const { runtime, state } = config.directories
  const forAttester = attesterDeps(config, dialect, tpm, metadata, trust, inherited)
  return {
    tpm,
    dialect: dialect.name,
    ekCertificate: config.tpm.ek_certificate,
    attesterOf: (keys, identity) => attesterOf(forAttester, keys, identity),
    continuityOf: (identity) =>
      continuityOf(tpm, identity, state, (problem) =>
        log.warn(
          { code: problem.code, cause: causeChain(problem) },
          'the record of this instance is not written',
        ),
      ),
    readInstanceId: () => readInstanceId(metadata, dialect),
    openSealedFiles: (sealKey) =>
      sealedFiles(runtime, sealKey, (problem) =>
        log.warn(
          { code: problem.code, cause: causeChain(problem) },
          'kept for a restart: unusable',
        ),
      ),
    onOtherInstance: (before, now) =>
      log.warn({ before, now }, 'the source names another instance'),
    bootId: readFileSync(BOOT_ID_FILE, 'utf8').trim(),
    salt: loadSalt(runtime),
    revocations: loadRevocations(runtime, bootTimeMs),
    bootTimeMs,
  }
}

function attesterDeps(
  { tpm: settings, source }: Config,
  dialect: Dialect,
  tpm: InstanceTpm,
  metadata: Metadata,
  trust: () => ParsedTrust,
  inherited: InheritedSockets,
): AttesterDeps {
  const akCertificates = readAkCertificates(settings)
  return {
    tpm,
    dialect: dialect.name,
    pcrs: { hash: settings.pcr_bank, pcrs: settings.pcrs },
    akCertificates,
    logFiles: logFilesOf(settings, inherited),
    readIdentityDocument: (audience) => readIdentityDocument(metadata, dialect, audience),
    policy: () => ({
      trust: trust(),
      ekCertificate: settings.ek_certificate,
      ekInstance: settings.ek_instance,
      identityDocument: source.identity_document,
    }),
  }
}

/** Where the logs of the TPM are. Another TPM's would only refute this one's PCRs. */
function logFilesOf({ tcti, cel_log: cel }: Config['tpm'], inherited: InheritedSockets): LogFiles {
  const device = /^device:\/dev\/tpm(?:rm)?([0-9]+)$/.exec(tcti)?.[1]
  if (device === undefined) return { cel }
  const firmware = `/sys/kernel/security/tpm${device}/binary_bios_measurements`
  // systemd and IMA measure into the first TPM.
  if (device !== '0') return { cel, firmware }
  return {
    cel,
    firmware: inherited['firmware-log'] ?? firmware,
    systemd: inherited['systemd-log'] ?? '/run/log/systemd/tpm2-measure.log',
    ima: inherited['ima-log'] ?? '/sys/kernel/security/ima/binary_runtime_measurements',
  }
}

/** The cloud's PKCS7 for an audience. A silent source makes none; `require` then refuses. */
async function readIdentityDocument(
  metadata: Metadata,
  dialect: Dialect,
  audience: string,
): Promise<Buffer | undefined> {
  const [path] = dialect.audiencePaths
  if (path === undefined) return undefined
  try {
    const { item } = await metadata.read({ path, query: `audience=${audience}` }, { fresh: true })
    return item && decodePkcs7(item.body.toString('latin1'))
  } catch (error) {
    if (error instanceof MetabindError && error.code === 'SOURCE_DOWN') return undefined
    throw error
  }
}

/** Base64 without armour, blanks allowed. @throws MetabindError SOURCE_NONSENSE */
function decodePkcs7(text: string): Buffer {
  const plain = text.replaceAll(/\s/g, '')
  if (/^[A-Za-z0-9+/]+={0,2}$/.test(plain)) return Buffer.from(plain, 'base64')
  throw new MetabindError('SOURCE_NONSENSE', 'its identity document is not base64')
}

/** Asks the source itself; through the cache, so that the first reader need not ask again. */
export async function readInstanceId(metadata: Metadata, dialect: Dialect): Promise<string> {
  const { item } = await metadata.read(ofPath(dialect.instanceIdPath), { fresh: true })
  if (item === undefined) throw new MetabindError('METADATA_ABSENT', dialect.instanceIdPath)
  return item.body.toString('utf8')
}
