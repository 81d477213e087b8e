import { iidOf } from '../format/instance-identity.ts'
import { type Claim, claimNames, isAkInTpm, provenClaims } from './claims.ts'
import type { ClockRecord } from './clock.ts'
import { type Anchor, findAnchor } from './endorsement.ts'
import { commonName } from './key-certificate.ts'
import type { Subject } from './subject.ts'
import { jwkOf, type PublicJwk, spkiDigest } from './tpm-key.ts'

/** What verified evidence says. Byte strings are in hex. */
export interface Verified {
  /** Every check held, and the keys are shown to be in a TPM: the opposite of `provisional`. */
  readonly verified: boolean
  /**
   * Nothing shows that the AK is in a TPM, so software could have made all of this beside a copied
   * EK certificate. Only if `allowProvisional` was given.
   */
  readonly provisional: boolean
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
  /** To keep, and to give as `lastClock` the next time. */
  readonly clock: ClockRecord
  /** False if the TPM lost power: its clock may have gone back by some seconds. */
  readonly clockSafe: boolean
  readonly firmwareVersion: string
  readonly proven: readonly Claim[]
  readonly notProven: readonly Claim[]
}

/** @param subject evidence that every check has passed */
export function describeVerified(subject: Subject): Verified {
  const { evidence, ek, ak, quote } = subject
  const anchor = findAnchor(subject)
  const [rk, bk, sk] = ['RK', 'BK', 'SK'].map((label) => certifiedKey(subject, label))
  if (!rk || !bk || !sk) throw new Error('every key was certified')
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
    clock: clockRecord(subject),
    clockSafe: quote.attest.clock.safe,
    firmwareVersion: quote.attest.firmwareVersion.toString(16).padStart(16, '0'),
    ...describeClaims(subject, anchor),
  }
}

function certifiedKey(subject: Subject, label: string) {
  return subject.certified.find((certified) => certified.label === label)?.key
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

function clockRecord({ ak, quote }: Subject): ClockRecord {
  const { clockMs, resetCount, restartCount } = quote.attest.clock
  return { akName: hex(ak.name), clockMs: Number(clockMs), resetCount, restartCount }
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
