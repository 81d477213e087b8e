import { generateKeyPair, type KeyObject, X509Certificate } from 'node:crypto'
import { promisify } from 'node:util'
import { z } from 'zod'
import { MetabindError } from '../errors.ts'
import { jwkThumbprint } from '../format/public-jwk.ts'
import { parseJson } from '../json.ts'
import { akCertificate, akIssuerCertificate, type CertifiedAk } from './ak-certificate.ts'
import { openPrivateKey, publicJwkOf, sealPrivateKey } from './key-ring.ts'
import { type KeySchedule, nextStartMs, overdue, signingNow } from './key-schedule.ts'
import type { MasterKey } from './master-key.ts'
import type { Repository, StoredSigningKey } from './repository.ts'

/** The registrar as an authority of attestation keys. */
export interface AkAuthority {
  /**
   * @param expiresAtMs when the enrolment is over
   * @returns DER: the certificate of the attestation key, and of whom it is certified by
   * @throws MetabindError INTERNAL if there is no key that certifies now
   */
  certify(ak: CertifiedAk, expiresAtMs: number): readonly Buffer[]
  /** PEM: the certificates of those that certify, will, or have certified what is not over. */
  readonly published: string
  /** Takes over what other replicas did, makes keys that are due, and removes those that are over. */
  refresh(): Promise<void>
}

interface AkAuthorityDeps {
  readonly url: string
  readonly repository: Repository
  readonly master: MasterKey
  readonly nowMs: () => number
}

interface HeldAuthority {
  readonly kid: string
  readonly startsAtMs: number
  readonly key: KeyObject
  readonly certificate: Buffer
}

/** Among the signing keys of the database. It signs no tokens, and is published as a certificate alone. */
const AK_AUTHORITY = 'ak-authority'
const DAY_MS = 86_400_000
/** Verifiers have to be given each of them. No enrolment, and so no certificate, is good for longer than the overlap. */
const SCHEDULE: KeySchedule = { rotateMs: 365 * DAY_MS, overlapMs: 31 * DAY_MS }
/** Longer than any certificate of it, also if nobody was there to replace it in time. */
const AUTHORITY_DAYS = 1095
/** Clocks of verifiers may be behind by so much. */
const BACKDATED_MS = 60_000

const storedJwk = z.looseObject({ x5c: z.tuple([z.base64()]) })

export function akAuthority({ url, repository, master, nowMs }: AkAuthorityDeps): AkAuthority {
  let held: readonly HeldAuthority[] = []
  const load = async (): Promise<void> => {
    const stored = (await repository.signingKeys()).filter(({ kind }) => kind === AK_AUTHORITY)
    held = stored.map((one) => held.find(({ kid }) => kid === one.kid) ?? opened(master, one))
  }
  return {
    certify: (ak, expiresAtMs) => {
      const issuer = signingNow(held, nowMs())
      if (issuer === undefined) throw new MetabindError('INTERNAL', 'no key for attestation keys')
      const notBefore = new Date(nowMs() - BACKDATED_MS)
      const validity = { notBefore, notAfter: new Date(expiresAtMs) }
      return [akCertificate(issuer, ak, validity), issuer.certificate]
    },
    get published() {
      return held.map(({ certificate }) => new X509Certificate(certificate).toString()).join('')
    },
    refresh: async () => {
      await load()
      const startsAtMs = nextStartMs(held, SCHEDULE, nowMs())
      if (startsAtMs !== undefined) {
        const newestMs = Math.max(-1, ...held.map((one) => one.startsAtMs))
        // Of two replicas that make one at the same time the second is in vain.
        await repository.addSigningKey(await newAuthority(url, startsAtMs, master), newestMs)
        await load()
      }
      const over = overdue(held, SCHEDULE, nowMs())
      await repository.removeSigningKeys(over.map(({ kid }) => kid))
      held = held.filter((one) => !over.includes(one))
    },
  }
}

function opened(master: MasterKey, { kid, startsAtMs, publicJwk, sealed }: StoredSigningKey) {
  const { x5c } = storedJwk.parse(parseJson(publicJwk))
  const certificate = Buffer.from(x5c[0], 'base64')
  return { kid, startsAtMs, certificate, key: openPrivateKey(master, sealed) }
}

async function newAuthority(
  url: string,
  startsAtMs: number,
  master: MasterKey,
): Promise<StoredSigningKey> {
  const { publicKey, privateKey } = await promisify(generateKeyPair)('ec', { namedCurve: 'P-256' })
  const jwk = publicJwkOf(publicKey)
  const kid = jwkThumbprint(jwk)
  // Each has a name of its own: verifiers have several of them, and look issuers up by name.
  const name = `metabind AK CA ${kid}`
  const certificate = akIssuerCertificate(
    privateKey,
    { name, url },
    {
      notBefore: new Date(startsAtMs - SCHEDULE.overlapMs),
      notAfter: new Date(startsAtMs + AUTHORITY_DAYS * DAY_MS),
    },
  )
  const publicJwk = JSON.stringify({ ...jwk, x5c: [certificate.toString('base64')] })
  const sealed = sealPrivateKey(master, privateKey)
  return { kid, kind: AK_AUTHORITY, startsAtMs, publicJwk, sealed }
}
