import { z } from 'zod'
import { type ConfigFile, parseConfigFiles, readConfigFile } from './config-file.ts'
import { DIALECT_NAMES } from './format/dialect-name.ts'
import { TTL_SECONDS_MAX, TTL_SECONDS_MIN } from './token/claims.ts'

/** Where the configuration is looked for when no --config is given. */
export const CONFIG_FILE = '/etc/metabind/metabind.toml'

const mode = z
  .string()
  .regex(/^0[0-7]{3}$/, 'must be an octal mode such as "0660"')
  .transform((text) => Number.parseInt(text, 8))
const absolutePath = z
  .string()
  .max(4096)
  .regex(/^\/[^\0]*$/, 'must be an absolute path')
// sockaddr_un holds 108 bytes with the closing NUL; a longer path would be cut silently.
const socketPath = absolutePath.refine(
  (path) => Buffer.byteLength(path) <= 107,
  'must be at most 107 bytes long',
)
const milliseconds = (most: number) => z.int().min(1).max(most)

const demand = z.enum(['require', 'prefer', 'ignore'])
const sha256 = z
  .string()
  .regex(/^[0-9A-Fa-f]{2}(:?[0-9A-Fa-f]{2}){31}$/, 'must be a SHA-256 digest in hex')

const tpm = z.strictObject({
  /** How the TPM is reached, as tpm2-tss names it. Never empty: that would try simulators on localhost. */
  tcti: z
    .string()
    .regex(
      /^(device:\/\S+|swtpm:\S+|mssim:\S+|tabrmd(:\S+)?)$/,
      'must be device:PATH, swtpm:…, mssim:… or tabrmd[:…]',
    )
    .default('device:/dev/tpmrm0'),
  /** How long one TPM command may take. Making an RSA key takes seconds on some chips. */
  command_timeout_ms: milliseconds(120_000).default(30_000),
  /** How often the agent proves that the same TPM is still there. At least once an epoch, an hour. */
  recheck_seconds: z.int().min(1).max(3600).default(3600),
  /** The bank and the PCRs that evidence quotes. */
  pcr_bank: z.enum(['sha256', 'sha384', 'sha512']).default('sha256'),
  pcrs: z
    .array(z.int().min(0).max(23))
    .min(1)
    .max(24)
    .refine((pcrs) => new Set(pcrs).size === pcrs.length, 'must not name a PCR twice')
    .default([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]),
  /** A log in TCG's Canonical Event Log Format that goes into evidence, JSON or CBOR. */
  cel_log: absolutePath.optional(),
  /** Whether the endorsement key must have a certificate that leads to an anchor. */
  ek_certificate: demand.default('prefer'),
  /** A directory of certificates, PEM or DER, that EK certificates may lead to. */
  ek_anchors: absolutePath.optional(),
  /** Endorsement keys known by themselves: SHA-256 of SubjectPublicKeyInfo. */
  ek_pins: z.array(sha256).max(64).default([]),
  /** Whether the EK certificate must name the instance id. */
  ek_instance: demand.default('prefer'),
  /** The certificate of the attestation key, and its issuers, if the cloud or you made one. */
  ak_certificate: absolutePath.optional(),
  /** A directory of certificates that it may lead to. */
  ak_anchors: absolutePath.optional(),
})

const source = z.strictObject({
  /** The cloud whose metadata service is relayed, and in whose words callers are answered. */
  dialect: z.enum(DIALECT_NAMES).default('aliyun'),
  /** Where the metadata service is. Empty: the address of the dialect. */
  endpoint: z
    .url({ protocol: /^http$/, error: 'must be an http:// URL' })
    .refine((url) => /^http:\/\/[^/?#@]+\/?$/.test(url), 'must be http://HOST[:PORT] and no more')
    .optional(),
  connect_timeout_ms: milliseconds(60_000).default(300),
  /** For a whole answer. The SDKs of the cloud give up after 1,000 ms. */
  timeout_ms: milliseconds(60_000).default(900),
  /** Largest answer relayed. */
  answer_bytes_max: z.int().min(1024).max(16_777_216).default(1_048_576),
  /** Whether the cloud must sign an identity document for the agent. */
  identity_document: demand.default('prefer'),
  /** The certificate that signs it, PEM or DER, in place of the one of Alibaba Cloud. */
  identity_certificate: absolutePath.optional(),
})

const identity = z.strictObject({
  /** How long an identity token is good. */
  lifetime_seconds: z.int().min(60).max(3600).default(900),
})

const registrar = z.strictObject({
  /** The registrar of the fleet, by its own name, letter by letter. Left out: the agent enrols nowhere. */
  url: z
    .string()
    .max(256)
    .regex(
      /^https:\/\/[a-z0-9.-]+(?::[0-9]{1,5})?(?:\/[A-Za-z0-9._~-]+)*$/,
      'must be https://HOST[:PORT][/PATH], host in small letters and without a slash at its end',
    )
    .optional(),
  /** Where it is, if its name is not to be looked up: the sandbox of the unit lets no name service through. */
  address: z
    .string()
    .regex(
      /^(?:(?:[0-9]{1,3}\.){3}[0-9]{1,3}|\[[0-9a-f:.]{2,45}\])(?::[0-9]{1,5})?$/,
      'must be IP[:PORT], of IPv6 [IP][:PORT]',
    )
    .optional(),
  /** PEM of the authorities that its certificate may be of, in place of those that come with the runtime. */
  authorities: absolutePath.optional(),
  /** For a whole answer. */
  timeout_ms: milliseconds(60_000).default(10_000),
})

const token = z.strictObject({
  /** What tokens are bound to besides the instance. */
  bind: z
    .array(z.enum(['uid', 'unit']))
    .refine((bind) => new Set(bind).size === bind.length, 'must not repeat')
    // A unit may hold processes of several users: alone it would be the weaker binding.
    .refine((bind) => !bind.includes('unit') || bind.includes('uid'), 'must have uid beside unit')
    .default(['uid']),
  /** The longest lifetime given out, in seconds; longer requests are refused. */
  max_ttl_seconds: z.int().min(TTL_SECONDS_MIN).max(TTL_SECONDS_MAX).default(TTL_SECONDS_MAX),
})

const listen = z.strictObject({
  metadata_socket: socketPath.default('/run/metabind/metadata.sock'),
  metadata_mode: mode.default(0o666),
  admin_socket: socketPath.default('/run/metabind/admin.sock'),
  admin_mode: mode.default(0o660),
})

const cache = z.strictObject({
  /** Answers kept at once. An instance has about a hundred paths. */
  entries_max: z.int().min(64).max(1_048_576).default(4096),
  /** Their bytes, keys and bookkeeping included. A larger answer is relayed and not kept. */
  bytes_max: z.int().min(65_536).max(1_073_741_824).default(16_777_216),
})

const port = z.int().min(1).max(65_535)

const transparent = z.strictObject({
  /** Loopback listeners for metabind lockdown. Without its firewall rules they refuse everybody. */
  enabled: z.boolean().default(false),
  /** Where redirected callers are answered like those on the socket. */
  port: port.default(9180),
  /** Where redirected callers are only observed, and passed on. */
  observe_port: port.default(9181),
})

const credentialsUri = z.strictObject({
  /** A loopback listener for SDKs that can only read credentials from a URL. */
  enabled: z.boolean().default(false),
  port: port.default(9182),
})

const directories = z.strictObject({
  /** On tmpfs, gone at reboot: the salt of the token keys, what is revoked, and, sealed, what is cached. */
  runtime: absolutePath.default('/run/metabind'),
  /** Kept over reboots. Holds nothing secret. */
  state: absolutePath.default('/var/lib/metabind'),
})

const limits = z.strictObject({
  /** Connections open at once on all sockets but the admin socket; one over TCP counts for several. */
  connections: z.int().min(1).max(65_536).default(2048),
  /** Of these, connections of one uid. */
  connections_per_uid: z.int().min(1).max(65_536).default(1024),
  /** Tokens that one uid may make: so many at once, and so many a second in the long run. */
  mint_burst: z.int().min(1).max(1_000_000).default(20_000),
  mints_per_second: z.number().min(0.01).max(1_000_000).default(1000),
  /** Reads of one uid that have to ask the metadata service. What the cache answers is not counted. */
  miss_burst: z.int().min(1).max(1_000_000).default(200),
  misses_per_second: z.number().min(0.01).max(1_000_000).default(20),
  /** Proofs that one uid may have signed: so many at once, and so many a second in the long run. */
  proof_burst: z.int().min(1).max(1_000_000).default(200),
  proofs_per_second: z.number().min(0.01).max(1_000_000).default(50),
  /** Request line and headers together. */
  header_bytes_max: z.int().min(1024).max(65_536).default(8192),
  /** Bodies are not used but for proofs, which have a bound of their own; a smaller one is read and dropped, a larger one refused. */
  body_bytes_max: z.int().min(1).max(65_536).default(1024),
  /** From the first byte of a request to the last of its headers, and to the end of its body. */
  request_timeout_ms: milliseconds(600_000).default(5000),
  /** A connection without a request is closed after this. */
  idle_timeout_ms: milliseconds(3_600_000).default(75_000),
})

const policy = z.strictObject({
  /** Who may read what: docs/policy.md. Without it, /etc/metabind/policy.toml if there is one. */
  file: absolutePath.optional(),
})

const audit = z
  .strictObject({
    /** Audit records as a hash chain. Left out: no file. */
    file: absolutePath.optional(),
    /** How often the chain's end is signed in the TPM, if records were added. */
    checkpoint_seconds: z.int().min(1).max(86_400).default(600),
    /** Whether audit records go to the journal, too; if not, only those that the file may have lost. */
    journal: z.boolean().default(true),
  })
  // Nobody could say afterwards who did what.
  .refine(({ journal, file }) => journal || file !== undefined, {
    path: ['journal'],
    error: 'may only be false if there is audit.file',
  })

const log = z.strictObject({
  level: z.enum(['error', 'warn', 'info', 'debug']).default('info'),
})

const schema = z.strictObject({
  tpm: tpm.prefault({}),
  source: source.prefault({}),
  identity: identity.prefault({}),
  registrar: registrar.prefault({}),
  token: token.prefault({}),
  listen: listen.prefault({}),
  cache: cache.prefault({}),
  transparent: transparent.prefault({}),
  credentials_uri: credentialsUri.prefault({}),
  directories: directories.prefault({}),
  limits: limits.prefault({}),
  policy: policy.prefault({}),
  audit: audit.prefault({}),
  log: log.prefault({}),
})

/** The whole configuration, every value present and in its bounds. docs/configuration.md lists it. */
export type Config = Readonly<z.infer<typeof schema>>

/**
 * Parses a configuration of several files: a key in a later one replaces that of an earlier one.
 *
 * @throws MetabindError CONFIG_INVALID with file, line, key and reason
 */
export function parseConfig(files: readonly ConfigFile[]): Config {
  return Object.freeze(parseConfigFiles(schema, files))
}

/**
 * Reads and parses configuration files. One that is not there is an error: it was asked for.
 *
 * @throws MetabindError CONFIG_UNREADABLE, CONFIG_INVALID
 */
export function readConfig(files: readonly string[]): Config {
  return parseConfig(files.map(readConfigFile))
}
