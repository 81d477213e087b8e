import { commonName } from '../certificates/key-certificate.ts'
import { iidOf } from '../format/instance-identity.ts'
import type { LogName } from '../format/pcr-event.ts'
import { jwkOf, type PublicJwk, spkiDigest } from '../format/tpm-key.ts'
import { type LoggedNvPcr, loggedNvPcrs } from '../measurements/nv-pcrs.ts'
import { logsOf, provenContent, type ReplayedPcr } from '../measurements/pcr-replay.ts'
import { type Claim, claimNames, isAkInTpm, provenClaims } from './claims.ts'
import { type Anchor, findAnchor } from './endorsement.ts'
import { policyFindings } from './policy-findings.ts'
import type { VerificationRecord } from './record.ts'
import { certifiedIn, type Subject } from './subject.ts'

/** What verified evidence says. Byte strings are in hex. */
export interface Verified {
  /** Every check held, and the keys are shown to be in a TPM: the opposite of `provisional`. */
  readonly verified: boolean
  /**
   * Nothing shows that the AK is in a TPM, so software could have made all of this beside a copied
   * EK certificate. Only if `allowProvisional` was given.
   */
  readonly provisional: boolean
  /** What was bound: under every signature, whether it was demanded or not. Undefined if nothing was. */
  readonly bind: string | undefined
  readonly dialect: string
  readonly instanceId: string
  /** Names the instance identity in tokens and logs. */
  readonly iid: string
  readonly ek: {
    readonly kind: string
    readonly name: string
    /** What this EK can be pinned by. */
    readonly spkiSha256: string
  }
  readonly ak: { readonly name: string }
  /** The key that signs identity tokens: for verifyIdentityToken, or any JWT library. */
  readonly sk: { readonly name: string; readonly jwk: PublicJwk }
  readonly rk: { readonly name: string }
  readonly bk: { readonly name: string }
  readonly anchor:
    | { readonly kind: 'ek-pin'; readonly spkiSha256: string }
    | {
        readonly kind: 'ek-certificate' | 'ak-certificate'
        /** SHA-256 of the certificates, leaf first, anchor last. */
        readonly fingerprints: readonly string[]
        readonly serialNumber: string
      }
  /** Quoted PCR values, by bank and number. */
  readonly pcrs: Readonly<Record<string, Readonly<Record<string, string>>>>
  /** Which logs lead to which quoted values, by bank and number. What no log explains is not here. */
  readonly replayed: Readonly<Record<string, Readonly<Record<string, ReplayedValue>>>>
  /** NV indices that took the place of PCRs, as the logs tell of them. Nothing that was quoted covers them. */
  readonly nvPcrs: readonly LoggedNvPcr[]
  /** Logs that the instance says it has left out, for their length or form. */
  readonly logsLeftOut: readonly LogName[]
  /** What each rule of the PCR policy found, in words; empty without a policy. */
  readonly policy: readonly string[]
  /** To keep, and to give as `last` the next time. */
  readonly record: VerificationRecord
  /** False if the TPM lost power: its clock may have gone back to what it last saved. */
  readonly clockSafe: boolean
  readonly firmwareVersion: string
  readonly proven: readonly Claim[]
  readonly notProven: readonly Claim[]
}

/** How a quoted value came about. */
interface ReplayedValue {
  /** None if the PCR has its first value. */
  readonly logs: readonly LogName[]
  readonly events: number
  /** Logged, but not in the quoted value: measured after the quote, or never. */
  readonly laterEvents: number
  /** What systemd measured, in its words, as far as they are what the digest is of. */
  readonly systemd: readonly string[]
}

/** @param subject evidence that every check has passed */
export function describeVerified(subject: Subject): Verified {
  const { evidence, ek, ak, quote } = subject
  const anchor = findAnchor(subject)
  const rk = certifiedIn(subject, 'RK').key
  const bk = certifiedIn(subject, 'BK').key
  const sk = certifiedIn(subject, 'SK').key
  const identity = {
    dialect: evidence.dialect,
    instanceId: evidence.instanceId,
    ekName: ek.name,
    akName: ak.name,
    rkName: rk.name,
  }
  const isProven = isAkInTpm(subject, anchor)
  return {
    verified: isProven,
    provisional: !isProven,
    bind: evidence.bind?.toString('hex'),
    dialect: evidence.dialect,
    instanceId: evidence.instanceId,
    iid: iidOf(identity).toString('hex'),
    ek: { kind: evidence.ek.kind, name: hex(ek.name), spkiSha256: spkiDigest(ek.public) },
    ak: { name: hex(ak.name) },
    sk: { name: hex(sk.name), jwk: jwkOf(sk.public) },
    rk: { name: hex(rk.name) },
    bk: { name: hex(bk.name) },
    anchor: describeAnchor(anchor),
    pcrs: describePcrs(subject),
    replayed: describeReplayed(subject),
    nvPcrs: loggedNvPcrs(subject.replayedLogs().logs.systemd),
    logsLeftOut: subject.replayedLogs().logs.leftOut,
    policy: policyFindings(subject),
    record: recordOf(subject, anchor),
    clockSafe: quote.attest.clock.safe,
    firmwareVersion: quote.attest.firmwareVersion.toString(16).padStart(16, '0'),
    ...describeClaims(subject, anchor),
  }
}

function describeAnchor(anchor: Anchor): Verified['anchor'] {
  if (anchor.kind === 'ek-pin') return anchor
  const fingerprints = anchor.path.map(({ fingerprint }) => fingerprint)
  const serialNumber = anchor.path[0]?.serialNumber ?? ''
  return { kind: anchor.kind, fingerprints, serialNumber }
}

function describePcrs({ shownPcrs }: Subject): Verified['pcrs'] {
  const banks = [...shownPcrs].map(([bank, values]) => {
    const entries = [...values].map(([pcr, value]) => [String(pcr), hex(value)])
    return [bank, Object.fromEntries(entries)]
  })
  return Object.fromEntries(banks)
}

function describeReplayed(subject: Subject): Verified['replayed'] {
  const { pcrs } = subject.replayedLogs()
  const entries = [...subject.shownPcrs.keys()].map((bank) => {
    const ofBank = pcrs.filter((each) => each.bank === bank).sort((a, b) => a.pcr - b.pcr)
    return [bank, Object.fromEntries(ofBank.map((each) => [String(each.pcr), describePcr(each)]))]
  })
  return Object.fromEntries(entries)
}

function describePcr(replayed: ReplayedPcr): ReplayedValue {
  const { bank, events, laterEvents } = replayed
  const ofSystemd = events.filter(({ log }) => log === 'systemd')
  const systemd = ofSystemd.flatMap((event) => provenContent(event, bank)?.toString() ?? [])
  return { logs: logsOf(replayed), events: events.length, laterEvents, systemd }
}

/** @param subject evidence whose signatures hold */
export function recordOf(subject: Subject, anchor: Anchor): VerificationRecord {
  const { evidence, ek, ak, quote } = subject
  const { clockMs, resetCount, restartCount } = quote.attest.clock
  const certifiedFrom = anchor.kind === 'ek-certificate' ? anchor.path[0]?.notBefore : undefined
  const { pcrPolicy, last } = subject.demands
  const policyRevision = Math.max(pcrPolicy?.revision ?? 0, last?.policyRevision ?? 0)
  return {
    format: 'metabind verification record',
    version: 1,
    instanceId: evidence.instanceId,
    ekName: hex(ek.name),
    akName: hex(ak.name),
    rkName: hex(certifiedIn(subject, 'RK').key.name),
    ...(certifiedFrom === undefined ? {} : { certifiedFromMs: certifiedFrom.getTime() }),
    clockMs: Number(clockMs),
    resetCount,
    restartCount,
    ...(policyRevision === 0 ? {} : { policyRevision }),
  }
}

function describeClaims(subject: Subject, anchor: Anchor): Pick<Verified, 'proven' | 'notProven'> {
  const leaf = anchor.kind === 'ek-certificate' ? anchor.path[0] : undefined
  const isNamed = leaf !== undefined && commonName(leaf) === subject.evidence.instanceId
  const proven = provenClaims(subject, anchor, isNamed)
  return {
    proven: claimNames().filter((claim) => proven.has(claim)),
    notProven: claimNames().filter((claim) => !proven.has(claim)),
  }
}

function hex(bytes: Buffer): string {
  return bytes.toString('hex')
}
