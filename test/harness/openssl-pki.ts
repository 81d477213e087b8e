import { execFileSync, spawnSync } from 'node:child_process'
import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll } from 'vitest'

/** Certificates and revocation lists that the openssl command makes, which shares nothing with our own parser. */

export interface OpensslCertificate {
  readonly file: string
  readonly keyFile: string
  readonly der: Buffer
  /** In hex, as openssl prints it. */
  readonly serial: string
}

export interface OpensslFields {
  /** `/C=US/CN=…`; `/` for an empty name. */
  readonly subject: string
  /** Lines of a configuration's section of extensions. */
  readonly extensions: readonly string[]
  /** Sections that those lines refer to. */
  readonly sections?: readonly string[]
  readonly under?: OpensslCertificate
  /** As openssl writes it in `req`: `utf8only` when left out. */
  readonly stringMask?: string
}

export const AUTHORITY_EXTENSIONS: readonly string[] = [
  'basicConstraints = critical,CA:TRUE',
  'keyUsage = critical,keyCertSign,cRLSign',
  'subjectKeyIdentifier = hash',
  'authorityKeyIdentifier = keyid',
]
export const LEAF_EXTENSIONS: readonly string[] = [
  'basicConstraints = critical,CA:FALSE',
  'subjectKeyIdentifier = hash',
  'authorityKeyIdentifier = keyid',
]

/** A revocation list: its entries are lines of the database of `openssl ca`. */
export interface OpensslCrl {
  readonly issuer: OpensslCertificate
  readonly revoked?: readonly { readonly serial: string; readonly reason?: string }[]
  /** `YYMMDDHHMMSSZ` */
  readonly thisUpdate?: string
  readonly nextUpdate?: string
  readonly extensions?: readonly string[]
  readonly sections?: readonly string[]
}

export class OpensslPki {
  readonly folder = mkdtempSync(join(tmpdir(), 'metabind-pki-'))
  readonly #made = new Map<string, OpensslCertificate>()
  #count = 0

  /** What was made of the same fields before comes back. */
  certificate(fields: OpensslFields): OpensslCertificate {
    const key = JSON.stringify({ ...fields, under: fields.under?.file })
    const made = this.#made.get(key) ?? this.#makeCertificate(fields)
    this.#made.set(key, made)
    return made
  }

  #makeCertificate({ subject, extensions, sections = [], under, stringMask }: OpensslFields) {
    const [config, file, keyFile] = this.#files('cnf', 'pem', 'key')
    const serial = `10${String(this.#count).padStart(6, '0')}`
    const lines = [
      `[req]\ndistinguished_name = dn\nprompt = no\nutf8 = yes\nstring_mask = ${stringMask ?? 'utf8only'}`,
      '[dn]\nCN = unused',
      '[extensions]',
      ...extensions,
      ...sections,
    ]
    writeFileSync(config, `${lines.join('\n')}\n`)
    const issuer = under === undefined ? [] : ['-CA', under.file, '-CAkey', under.keyFile]
    run([
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'],
      ...['-config', config, '-extensions', 'extensions', '-subj', subject, '-days', '3650'],
      ...['-set_serial', `0x${serial}`, '-keyout', keyFile, '-out', file, ...issuer],
    ])
    return { file, keyFile, serial, der: derIn(file) }
  }

  crl({ issuer, revoked = [], extensions = ['crlNumber'], sections = [], ...times }: OpensslCrl) {
    const [config, database, number, file] = this.#files('cnf', 'db', 'number', 'crl')
    writeFileSync(number, '01\n')
    writeFileSync(`${database}.attr`, 'unique_subject = no\n')
    writeFileSync(database, '')
    for (let at = 0; at < revoked.length; at += 10_000) {
      const lines = revoked.slice(at, at + 10_000).map(({ serial, reason }) => {
        const when = `250101000000Z${reason === undefined ? '' : `,${reason}`}`
        return `R\t350101000000Z\t${when}\t${serial.toUpperCase()}\tunknown\t/CN=revoked\n`
      })
      appendFileSync(database, lines.join(''))
    }
    const ofCrl = extensions.filter((line) => line !== 'crlNumber')
    const hasExtensions = extensions.length > 0
    const lines = [
      `[ca]\ndefault_ca = it\n[it]\ndatabase = ${database}\ndefault_md = sha256`,
      ...(extensions.includes('crlNumber') ? [`crlnumber = ${number}`] : []),
      ...(hasExtensions
        ? [
            'crl_extensions = extensions',
            '[extensions]',
            'authorityKeyIdentifier = keyid',
            ...ofCrl,
          ]
        : []),
      ...sections,
    ]
    writeFileSync(config, `${lines.join('\n')}\n`)
    const { thisUpdate, nextUpdate } = times
    run([
      ...['ca', '-gencrl', '-config', config, '-cert', issuer.file, '-keyfile', issuer.keyFile],
      ...(thisUpdate === undefined ? [] : ['-crl_lastupdate', thisUpdate]),
      ...(nextUpdate === undefined ? ['-crldays', '30'] : ['-crl_nextupdate', nextUpdate]),
      ...['-out', file],
    ])
    return { file, pem: readFileSync(file), der: derIn(file) }
  }

  /** Whether `openssl verify` accepts the path, with more of its options. */
  verifies(
    leaf: OpensslCertificate,
    between: readonly OpensslCertificate[],
    root: OpensslCertificate,
    options: readonly string[] = [],
  ): boolean {
    const untrusted = between.flatMap(({ file }) => ['-untrusted', file])
    const args = ['verify', '-CAfile', root.file, ...untrusted, ...options, leaf.file]
    return spawnSync('openssl', args, { encoding: 'utf8' }).status === 0
  }

  remove(): void {
    rmSync(this.folder, { recursive: true })
  }

  #files<T extends string[]>(...ends: T): { [K in keyof T]: string } {
    this.#count += 1
    return ends.map((end) => join(this.folder, `${this.#count}.${end}`)) as {
      [K in keyof T]: string
    }
  }
}

/** One that ends with the tests of the block or file that asks. */
export function opensslPki(): OpensslPki {
  const pki = new OpensslPki()
  afterAll(() => pki.remove())
  return pki
}

function derIn(pem: string): Buffer {
  return Buffer.from(readFileSync(pem, 'latin1').replace(/-----[^-]+-----/g, ''), 'base64')
}

function run(args: readonly string[]): void {
  execFileSync('openssl', args, { stdio: ['ignore', 'pipe', 'pipe'] })
}
