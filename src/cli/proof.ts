import { makeToken, postMetadata } from '../client.ts'
import { MetabindError, UsageError } from '../errors.ts'
import { tokenHash } from '../format/token-hash.ts'
import { parseVerb, SOCKET_HELP, SOCKET_OPTIONS, socketsOf } from './options.ts'
import { print, printAnswer } from './output.ts'
import type { Verb } from './verb.ts'

// For one call: the session token need not outlive the command by much.
const TTL_SECONDS = '60'
const TOKEN_FILE_BYTES_MAX = 65_536
const HASH = /^[A-Za-z0-9_-]{43}$/

const OPTIONS = {
  ...SOCKET_OPTIONS,
  kind: { type: 'string' },
  method: { type: 'string' },
  url: { type: 'string' },
  'access-token-file': { type: 'string' },
  ath: { type: 'string' },
  'identity-token-file': { type: 'string' },
  wth: { type: 'string' },
  nonce: { type: 'string' },
  json: { type: 'boolean' },
} as const

type Values = ReturnType<typeof parseVerb<typeof OPTIONS>>['values']

export const proof: Verb = {
  summary: 'prove that a request comes from this instance',
  help: `Usage: metabind proof --url URL --method METHOD
                      [--access-token-file FILE | --ath HASH] [--nonce NONCE]
                      [--json]
       metabind proof --kind wpt --url URL
                      (--identity-token-file FILE | --wth HASH)
                      [--access-token-file FILE | --ath HASH] [--json]

Prints a proof for one request, signed in the TPM: a DPoP proof (RFC 9449) for
the header DPoP, or a Workload Proof Token for the header Workload-Proof-Token.
A token that is bound to the key of this instance is good together with such a
proof only. The policy has to let you have it: docs/proofs.md.

  --kind KIND          dpop (default) or wpt
  --url URL            of the request; query and fragment are left out of the
                       proof
  --method METHOD      of the request, such as GET (dpop)
  --access-token-file FILE
                       the access token of the request ('-': standard input);
                       the agent is told its hash only
  --ath HASH           or that hash: SHA-256 in base64url
  --identity-token-file FILE
                       the Workload Identity Token of the request (wpt)
  --wth HASH           or its hash
  --nonce NONCE        what the service sent as DPoP-Nonce (dpop)
  --json               print the answer as JSON
${SOCKET_HELP}`,
  run: async (args) => {
    const { values } = parseVerb(args, OPTIONS, 0)
    const { kind = 'dpop', url } = values
    if (url === undefined) throw new UsageError('--url is missing: the URL of the request')
    if (kind !== 'dpop' && kind !== 'wpt') throw new UsageError('--kind is dpop or wpt')
    const body = { kind, url, ath: await hashOf(values, 'access-token-file', 'ath') }
    const own = kind === 'dpop' ? ofDpop(values) : await ofWpt(values)
    const sockets = socketsOf(values)
    const token = await makeToken(sockets, TTL_SECONDS)
    const asked = JSON.stringify({ ...body, ...own })
    const answer = await postMetadata(sockets, '/metabind/v1/proof', token, asked)
    const made = answer.body.toString('latin1')
    if (values.json) printAnswer('proof', { kind, proof: made })
    else print(`${made}\n`)
    return 0
  },
}

function ofDpop({ method, nonce, ...others }: Values): object {
  if (others.wth !== undefined || others['identity-token-file'] !== undefined) {
    throw new UsageError('--identity-token-file and --wth are for --kind wpt')
  }
  if (method === undefined) throw new UsageError('--method is missing: that of the request')
  return { method, nonce }
}

async function ofWpt(values: Values): Promise<object> {
  if (values.method !== undefined || values.nonce !== undefined) {
    throw new UsageError('--method and --nonce are for --kind dpop: the other names neither')
  }
  const wth = await hashOf(values, 'identity-token-file', 'wth')
  if (wth === undefined) throw new UsageError('--identity-token-file is missing, or --wth')
  return { wth }
}

async function hashOf(
  values: Values,
  file: 'access-token-file' | 'identity-token-file',
  hash: 'ath' | 'wth',
): Promise<string | undefined> {
  const { [file]: path, [hash]: given } = values
  if (path === undefined) {
    if (given !== undefined && !HASH.test(given)) {
      throw new UsageError(`--${hash} takes a SHA-256 in base64url, 43 characters`)
    }
    return given
  }
  if (given !== undefined)
    throw new UsageError(`--${file} and --${hash} say the same: leave one out`)
  const { readSmallFile } = await import('./files.ts')
  const token = (await readSmallFile(path, TOKEN_FILE_BYTES_MAX)).trim()
  if (token.length > TOKEN_FILE_BYTES_MAX || !/^[\x21-\x7e]+$/.test(token)) {
    throw new MetabindError('FILE_UNUSABLE', `${path} does not hold a token.`)
  }
  return tokenHash(token)
}
