import { z } from 'zod'
import { type ConfigFile, parseConfigFiles, readConfigFile } from '../config-file.ts'

import { DIALECT_NAMES } from '../format/dialect-name.ts'
import { SIGNING_ALGORITHMS, TOKEN_SECONDS_MAX } from '../registrar-keys/key-schedule.ts'
import { SUBJECT_KINDS } from './subject.ts'
import { TOKEN_FORMATS } from './token-format.ts'

/** Where the registrar's configuration is looked for when no --config is given. */
export const REGISTRAR_CONFIG_FILE = '/etc/metabind/registrar.toml'

const absolutePath = z
  .string()
  .max(4096)
  .regex(/^\/[^\0]*$/, 'must be an absolute path')
const sha256 = z
  .string()
  .regex(/^[0-9A-Fa-f]{2}(:?[0-9A-Fa-f]{2}){31}$/, 'must be a SHA-256 digest in hex')
const address = z.union([z.ipv4(), z.ipv6()], { error: 'must be an IP address' })
const port = z.int().min(0).max(65_535)

const listen = z.strictObject({
  /** Without [tls] a proxy that ends TLS stands in front. */
  address: address.default('127.0.0.1'),
  /** 0 takes a free one. */
  port: port.default(9190),
  /** Whose X-Forwarded-For is believed. */
  trusted_proxies: z.array(address).max(64).default(['127.0.0.1', '::1']),
})

const tls = z.strictObject({
  /** PEM: the registrar's own, and behind it those that lead to a root. */
  certificate: absolutePath,
  /** PEM, not encrypted: nobody else but root may read it. */
  key: absolutePath,
  minimum_version: z.enum(['1.2', '1.3']).default('1.3'),
})

const word = z.string().regex(/^[^\0]{1,63}$/, 'must be 1 to 63 characters')

/** A database that replicas share, in place of the embedded one. */
const postgresql = z.strictObject({
  host: z
    .string()
    .max(253)
    .regex(
      /^(?:\/[^\0]*|[A-Za-z0-9.:_-]+)$/,
      'must be a name, an address, or the directory of a Unix socket',
    ),
  port: z.int().min(1).max(65_535).default(5432),
  user: word,
  database: word,
  /** Read at each connection; one line. */
  password_file: absolutePath.optional(),
  /** `verified`: by ca_file, or by the authorities that Node knows. A Unix socket has none. */
  tls: z.enum(['verified', 'none']).default('verified'),
  /** Certificates of authorities, in PEM. */
  ca_file: absolutePath.optional(),
  /** Open at once, of one replica. */
  connections: z.int().min(1).max(200).default(10),
  /** How long a request waits for one, to be free or made. */
  wait_ms: z.int().min(10).max(60_000).default(3000),
  statement_timeout_ms: z.int().min(10).max(60_000).default(5000),
  lock_timeout_ms: z.int().min(10).max(60_000).default(3000),
})

const storage = z.strictObject({
  /** The database, with its journal beside it. */
  database: absolutePath.default('/var/lib/metabind-registrar/registrar.db'),
  postgresql: postgresql.optional(),
  /** 32 random bytes, made at the first start: what in the database is secret is sealed under them. */
  master_key: absolutePath.default('/var/lib/metabind-registrar/master.key'),
})

const trust = z.strictObject({
  /** A directory of certificates that EK certificates must lead to. */
  ek_anchors: absolutePath.optional(),
  /** Whether those of Alibaba Cloud, which come with metabind, are anchors too. */
  aliyun: z.boolean().default(false),
  /** Endorsement keys known by themselves: SHA-256 of SubjectPublicKeyInfo. */
  ek_pins: z.array(sha256).max(4096).default([]),
  /** A directory of certificates that AK certificates must lead to. */
  ak_anchors: absolutePath.optional(),
  /** The certificate that signs identity documents, in place of the one of Alibaba Cloud. */
  identity_certificate: absolutePath.optional(),
})

const verdict = z.enum(['admit', 'hold', 'refuse'])

const admission = z.strictObject({
  /** What becomes of an instance whose TPM something in [trust] vouches for. */
  anchored: verdict.exclude(['refuse']).default('admit'),
  /** Of one whose TPM nothing vouches for. `admit` is trust on first use. */
  unanchored: verdict.default('refuse'),
  /** `proven`: the cloud's document or the EK certificate names the instance; `word`: the agent's word will do. */
  instance_id: z.enum(['proven', 'word']).default('proven'),
  /** A PCR policy file that every instance must satisfy. */
  pcr_policy: absolutePath.optional(),
  /** How long an enrolment is good, until the instance proves itself again. */
  lifetime_seconds: z.int().min(300).max(2_592_000).default(86_400),
})

const audience = z.strictObject({
  /** `aud`, whole: 1 to 256 printable characters of ASCII without blanks. */
  name: z
    .string()
    .regex(/^[\x21-\x7e]{1,256}$/, 'must be 1 to 256 characters of ASCII without blanks'),
  /** What it takes; the first is what it is given if a request names none. */
  formats: z.array(z.enum(TOKEN_FORMATS)).min(1).max(TOKEN_FORMATS.length).default(['id_token']),
  /** What the tokens are signed with: RS256 is what every cloud takes. WITs are signed with ES256. */
  algorithm: z.enum(SIGNING_ALGORITHMS).default('RS256'),
  lifetime_seconds: z.int().min(60).max(TOKEN_SECONDS_MAX).default(900),
  /** Whether access tokens are bound to SK, or only those that are asked for with a proof (RFC 9449). */
  dpop: z.enum(['required', 'optional']).default('required'),
  /** Whom they name: the instance, or the user or unit on it by the word of its agent. */
  subject: z.enum(SUBJECT_KINDS).default('instance'),
  /** Which instances may have them: by the name that tokens have for them, with `*` at the end for what follows. */
  instances: z
    .array(
      z
        .string()
        .regex(/^[a-z0-9]+:[A-Za-z0-9._-]*\*?$/, 'must be CLOUD:INSTANCE or CLOUD:BEGINNING*'),
    )
    .max(4096)
    .optional(),
  /** Of which clouds. */
  dialects: z.array(z.enum(DIALECT_NAMES)).optional(),
  /** Whether something in [trust] must vouch for the TPM of the instance. */
  anchored: z.boolean().default(false),
})

const spiffe = z.strictObject({
  /** SPIFFE-ID 2.1. */
  trust_domain: z
    .string()
    .regex(/^[a-z0-9._-]{1,255}$/, 'must be small letters, digits, dots, dashes and underscores')
    .optional(),
})

/** A token that new signing keys are made in, and stay in. */
const pkcs11 = z.strictObject({
  /** The library that speaks to it. */
  module: absolutePath,
  /** Its label (CK_TOKEN_INFO). */
  token: z
    .string()
    .refine(
      (label) => Buffer.byteLength(label) <= 32 && /^(?! )[^\p{Cc}]+(?<! )$/u.test(label),
      'must be 1 to 32 bytes without blanks at its ends',
    ),
  /** A file with the PIN of its user, in one line: nobody else but root may read it. */
  pin: absolutePath,
  /** Where keys are made from now on. `database` is the way back: those in the token go on until they are over. */
  new_keys: z.enum(['token', 'database']).default('token'),
})

const keys = z.strictObject({
  /** For how long a key signs. */
  rotate_days: z.int().min(1).max(365).default(30),
  /** For how long a key is published before it signs, and after it did: verifiers keep what they have fetched. */
  overlap_hours: z.int().min(2).max(23).default(23),
  pkcs11: pkcs11.optional(),
})

const events = z.strictObject({
  /** How old an event gets at most until the end of their chain is signed. */
  checkpoint_seconds: z.int().min(60).max(86_400).default(600),
})

const publish = z.strictObject({
  /** Where what verifiers read is written to as files besides, for a bucket. */
  directory: absolutePath.optional(),
})

const limits = z.strictObject({
  connections: z.int().min(1).max(65_536).default(512),
  /** Of one address (of IPv6: of one /64) that is none of listen.trusted_proxies. */
  connections_per_address: z.int().min(1).max(65_536).default(64),
  /** Of the request that carries evidence. */
  evidence_bytes_max: z.int().min(16_384).max(2_097_152).default(262_144),
  /** Enrolments that wait for their answer, of all and of one address. */
  pending: z.int().min(1).max(1_000_000).default(4096),
  pending_per_address: z.int().min(1).max(1_000_000).default(64),
  /** Instances for whose TPM nothing vouches, held or suspended; a new one beyond it is refused. */
  held: z.int().min(1).max(1_000_000).default(1024),
  /** Requests of one address (of IPv6: of one /64): at once, and a second in the long run. */
  request_burst: z.int().min(1).max(1_000_000).default(60),
  requests_per_second: z.number().min(0.01).max(1_000_000).default(2),
  request_timeout_ms: z.int().min(100).max(600_000).default(15_000),
})

const metrics = z.strictObject({
  address: address.default('127.0.0.1'),
  /** Left out: none are served. 0 takes a free one. */
  port: port.optional(),
})

const api = z.strictObject({
  /** A Unix socket on which administrators read. Left out: there is none. */
  socket: z
    .string()
    .regex(/^\/[^\0]{1,106}$/, 'must be an absolute path of at most 107 characters')
    .optional(),
})

const log = z.strictObject({
  level: z.enum(['error', 'warn', 'info', 'debug']).default('info'),
})

const SPIFFE_FORMATS: readonly string[] = ['jwt_svid', 'wit']

const schema = z
  .strictObject({
    /** What instances and verifiers know the registrar by: issuer, audience, and under every signature of evidence. */
    url: z
      .string()
      .max(256)
      .regex(
        /^https:\/\/[a-z0-9.-]+(?::[0-9]{1,5})?(?:\/[A-Za-z0-9._~-]+)*$/,
        'must be https://HOST[:PORT][/PATH], host in small letters and without a slash at its end',
      ),
    listen: listen.prefault({}),
    /** If there is none, a proxy ends TLS. */
    tls: tls.optional(),
    storage: storage.prefault({}),
    trust: trust.prefault({}),
    admission: admission.prefault({}),
    /** For whom tokens are issued: for these and nobody else. */
    audience: z
      .array(audience)
      .max(256)
      .refine(
        (audiences) => new Set(audiences.map(({ name }) => name)).size === audiences.length,
        'must not name an audience twice',
      )
      .default([]),
    spiffe: spiffe.prefault({}),
    keys: keys.prefault({}),
    events: events.prefault({}),
    publish: publish.prefault({}),
    limits: limits.prefault({}),
    metrics: metrics.prefault({}),
    api: api.prefault({}),
    log: log.prefault({}),
  })
  .superRefine(({ audience: audiences, spiffe: { trust_domain: trustDomain } }, context) => {
    const at = audiences.findIndex(({ formats }) =>
      formats.some((one) => SPIFFE_FORMATS.includes(one)),
    )
    if (at < 0 || trustDomain !== undefined) return
    const message = 'jwt_svid and wit name a SPIFFE ID: set spiffe.trust_domain'
    context.addIssue({ code: 'custom', path: ['audience', at, 'formats'], message })
  })

/** The registrar's configuration, every value present and in its bounds. docs/fleet.md lists it. */
export type RegistrarConfig = Readonly<z.infer<typeof schema>>

/** @throws MetabindError CONFIG_INVALID with file, line, key and reason */
export function parseRegistrarConfig(files: readonly ConfigFile[]): RegistrarConfig {
  return Object.freeze(parseConfigFiles(schema, files))
}

/** @throws MetabindError CONFIG_UNREADABLE, CONFIG_INVALID */
export function readRegistrarConfig(files: readonly string[]): RegistrarConfig {
  return parseRegistrarConfig(files.map(readConfigFile))
}
