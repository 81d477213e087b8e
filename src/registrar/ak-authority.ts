import { X509Certificate } from 'node:crypto'
import { z } from 'zod'
import { MetabindError } from '../errors.ts'
import { jwkThumbprint } from '../format/public-jwk.ts'
import { parseJson } from '../json.ts'
import { addNewKey, noKey, removeKeys } from '../registrar-keys/kept-keys.ts'
import {
  type KeySchedule,
  nextStartMs,
  overdue,
  signingNow,
} from '../registrar-keys/key-schedule.ts'
import type { KeyStore, PrivateKey } from '../registrar-keys/private-key.ts'
import { rotatedAtMs } from '../registrar-keys/rotate-mark.ts'
import { publicJwkOf } from '../registrar-keys/sealed-keys.ts'
import type { Repository, StoredSigningKey } from '../registrar-repository/repository.ts'
import { akCertificate, akIssuerCertificate, type CertifiedAk } from './ak-certificate.ts'

/** The registrar as an authority of attestation keys. */
export interface AkAuthority {
  /**
   * @param expiresAtMs when the enrolment is over
   * @returns DER: the certificate of the attestation key, and of whom it is certified by
   * @throws MetabindError REGISTRAR_HSM if there is no key that certifies now; what PrivateKey throws
   */
  certify(ak: CertifiedAk, expiresAtMs: number): Promise<readonly Buffer[]>
  /** PEM: the certificates of those that certify, will, or have certified what is not over. */
  readonly published: string
  /** Takes over what other replicas did, makes keys that are due, and removes those that are over. */
  refresh(): Promise<void>
}

interface AkAuthorityDeps {
  readonly url: string
  readonly repository: Repository
  readonly store: KeyStore
  readonly nowMs: () => number
}

interface HeldAuthority {
  readonly kid: string
  readonly startsAtMs: number
  readonly key: PrivateKey
  readonly certificate: Buffer
  readonly sealed: Buffer
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

export function akAuthority({ url, repository, store, nowMs }: AkAuthorityDeps): AkAuthority {
  let held: readonly HeldAuthority[] = []
  const load = async (): Promise<void> => {
    const stored = (await repository.signingKeys()).filter(({ kind }) => kind === AK_AUTHORITY)
    held = stored.map((one) => held.find(({ kid }) => kid === one.kid) ?? opened(store, one))
  }
  return {
    certify: async (ak, expiresAtMs) => {
      const issuer = signingNow(held, nowMs())
      if (issuer === undefined) throw noKey('attestation keys')
      const notBefore = new Date(nowMs() - BACKDATED_MS)
      const validity = { notBefore, notAfter: new Date(expiresAtMs) }
      return [await akCertificate(issuer, ak, validity), issuer.certificate]
    },
    get published() {
      return held.map(({ certificate }) => new X509Certificate(certificate).toString()).join('')
    },
    refresh: async () => {
      await load()
      const startsAtMs = nextStartMs(held, SCHEDULE, nowMs(), await rotatedAtMs(repository))
      if (startsAtMs !== undefined) {
        const newestMs = Math.max(-1, ...held.map((one) => one.startsAtMs))
        await addNewKey({ repository, store }, await newAuthority(url, startsAtMs, store), newestMs)
        await load()
      }
      const over = overdue(held, SCHEDULE, nowMs())
      await removeKeys({ repository, store }, over)
      held = held.filter((one) => !over.includes(one))
    },
  }
}

/** @throws MetabindError REGISTRAR_DATABASE if the certificate is not one that the key has made for itself */
function opened(
  store: KeyStore,
  { kid, startsAtMs, publicJwk, sealed }: StoredSigningKey,
): HeldAuthority {
  const { x5c } = storedJwk.parse(parseJson(publicJwk))
  const certificate = Buffer.from(x5c[0], 'base64')
  const parsed = new X509Certificate(certificate)
  const key = store.open(sealed, publicJwkOf(parsed.publicKey))
  if (parsed.verify(parsed.publicKey)) return { kid, startsAtMs, certificate, key, sealed }
  throw new MetabindError('REGISTRAR_DATABASE', 'A certificate of its own does not hold.')
}

async function newAuthority(
  url: string,
  startsAtMs: number,
  store: KeyStore,
): Promise<StoredSigningKey> {
  const { key, sealed } = await store.make('ES256', AK_AUTHORITY)
  const kid = jwkThumbprint(key.publicJwk)
  // Each has a name of its own: verifiers have several of them, and look issuers up by name.
  const name = `metabind AK CA ${kid}`
  const certificate = await akIssuerCertificate(
    key,
    { name, url },
    {
      notBefore: new Date(startsAtMs - SCHEDULE.overlapMs),
      notAfter: new Date(startsAtMs + AUTHORITY_DAYS * DAY_MS),
    },
  )
  const publicJwk = JSON.stringify({ ...key.publicJwk, x5c: [certificate.toString('base64')] })
  return { kid, kind: AK_AUTHORITY, startsAtMs, publicJwk, sealed }
}
