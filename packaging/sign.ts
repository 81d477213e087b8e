import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/**
 * Signatures of packages and repositories, by GnuPG. A DEB has none inside: apt takes its word from the
 * repository's InRelease, and Debian's dpkg is set not to look for one (`no-debsig` in /etc/dpkg/dpkg.cfg).
 */

/** A key that can sign. */
export interface Signer {
  readonly fingerprint: string
  /** The folder of gpg that has the secret key, undefined for the caller's own. */
  readonly home: string | undefined
  /** The public key: armored for others to install, and as the keyring that gpgv reads. */
  readonly publicKey: string
  readonly keyring: string
}

/**
 * Does something with a key. What is not the caller's own keyring is in a folder that is removed.
 *
 * @param key what gpg knows it by (better a fingerprint than an address), or a file with the secret key
 * @throws Error if there is no such key, more than one, or one that rpm would not take
 */
export async function withSigner<T>(key: string, use: (signer: Signer) => T | Promise<T>) {
  const work = mkdtempSync(join(tmpdir(), 'metabind-sign-'))
  const home = existsSync(key) ? join(work, 'gnupg') : undefined
  try {
    if (home !== undefined) {
      mkdirSync(home, { mode: 0o700 })
      gpg(home, ['--import', key])
    }
    const fingerprint = signingKey(home, home === undefined ? [key] : [])
    const publicKey = join(work, 'metabind.asc')
    const keyring = join(work, 'metabind.gpg')
    writeFileSync(publicKey, gpg(home, ['--armor', '--export', fingerprint]))
    writeFileSync(keyring, gpg(home, ['--export', fingerprint]))
    return await use({ fingerprint, home, publicKey, keyring })
  } finally {
    if (home !== undefined) execFileSync('gpgconf', ['--homedir', home, '--kill', 'all'])
    rmSync(work, { recursive: true, force: true })
  }
}

// Of RFC 4880. rpm verifies others from 4.16 on, and RHEL 8 has 4.14.
const RSA = '1'

function signingKey(home: string | undefined, names: readonly string[]): string {
  const lines = gpg(home, ['--with-colons', '--list-secret-keys', ...names])
    .toString()
    .split('\n')
  const records = lines.map((line) => line.split(':'))
  const fingerprints = records.flatMap(([kind], index) =>
    kind === 'sec' ? (records.slice(index).find(([next]) => next === 'fpr')?.[9] ?? []) : [],
  )
  const [fingerprint, another] = fingerprints
  if (fingerprint === undefined) throw new Error('there is no such secret key')
  if (another !== undefined) throw new Error('more than one key is meant; name its fingerprint')
  const signing = records.filter(([kind = '']) => kind === 'sec' || kind === 'ssb')
  const others = signing.filter((fields) => fields[11]?.includes('s') && fields[3] !== RSA)
  if (others.length > 0) throw new Error('the key must be an RSA key: rpm of RHEL 8 takes no other')
  return fingerprint
}

/** Writes FILE.asc. */
export function signDetached(signer: Signer, file: string): void {
  rmSync(`${file}.asc`, { force: true })
  const key = ['--local-user', signer.fingerprint, '--digest-algo', 'SHA256']
  gpg(signer.home, [...key, '--armor', '--output', `${file}.asc`, '--detach-sign', file])
}

/** Writes what is in `file` with a signature around it, as apt wants InRelease. */
export function signInline(signer: Signer, file: string, output: string): void {
  rmSync(output, { force: true })
  const key = ['--local-user', signer.fingerprint, '--digest-algo', 'SHA256']
  gpg(signer.home, [...key, '--output', output, '--clear-sign', file])
}

/** Puts the signature into RPMs, which have a place for it. */
export function signRpm(signer: Signer, file: string): void {
  const defines = [
    '-D',
    `_gpg_name ${signer.fingerprint}`,
    '-D',
    '_gpg_digest_algo sha256',
    '-D',
    '__gpg /usr/bin/gpg',
  ]
  const home = signer.home === undefined ? {} : { GNUPGHOME: signer.home }
  const env = { ...process.env, ...home }
  execFileSync('rpmsign', ['--addsign', ...defines, file], {
    env,
    stdio: ['inherit', 'ignore', 'inherit'],
  })
  verifyRpm(signer, file)
}

/** @throws Error unless FILE.asc is this key's signature of the file */
export function verifyDetached(signer: Signer, file: string): void {
  run('gpgv', ['--keyring', signer.keyring, `${file}.asc`, file], file)
}

/** @throws Error unless the RPM has this key's signature and is as it was signed */
export function verifyRpm(signer: Signer, file: string): void {
  const database = mkdtempSync(join(tmpdir(), 'metabind-rpmdb-'))
  try {
    const at = ['--dbpath', database]
    run('rpmkeys', [...at, '--import', signer.publicKey], signer.publicKey)
    // A package without any signature passes, but does not say this.
    const said = run('rpmkeys', [...at, '--checksig', file], file)
    if (!said.endsWith(': digests signatures OK\n')) throw new Error(`${file} is not signed`)
  } finally {
    rmSync(database, { recursive: true })
  }
}

function run(program: string, args: readonly string[], file: string): string {
  const env = { ...process.env, LC_ALL: 'C' }
  try {
    return execFileSync(program, args, { env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
  } catch (cause) {
    throw new Error(`${file}: its signature does not verify`, { cause })
  }
}

function gpg(home: string | undefined, args: readonly string[]): Buffer {
  const at = home === undefined ? [] : ['--homedir', home]
  return execFileSync('gpg', [...at, '--batch', '--quiet', '--no-tty', ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
}
