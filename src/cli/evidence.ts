import { ADMIN_CALLS } from '../admin-api.ts'
import { callAdmin } from '../admin-client.ts'
import { UsageError } from '../errors.ts'
import { NONCE_BYTES_MAX, NONCE_BYTES_MIN } from '../format/evidence.ts'
import { writeFile } from './files.ts'
import { parseVerb, SOCKET_HELP, SOCKET_OPTIONS, socketsOf } from './options.ts'
import { printJson } from './output.ts'
import type { Verb } from './verb.ts'

const NONCE = new RegExp(`^(?:[0-9A-Fa-f]{2}){${NONCE_BYTES_MIN},${NONCE_BYTES_MAX}}$`)

export const evidence: Verb = {
  summary: 'prove which instance this is, to whoever sent a nonce',
  help: `Usage: metabind evidence --nonce HEX [--out FILE] [--json]

Has the TPM sign evidence of this instance for the verifier that sent the nonce,
and prints it as JSON, or writes it to FILE. Nothing in it is secret. metabind
verify checks it anywhere.

  --nonce HEX          the verifier's nonce: 16 to 64 bytes
  --out FILE           write it there
  --json               as without it: evidence is JSON
${SOCKET_HELP}`,
  run: async (args) => {
    const options = {
      ...SOCKET_OPTIONS,
      nonce: { type: 'string' },
      out: { type: 'string' },
      json: { type: 'boolean' },
    } as const
    const { values } = parseVerb(args, options, 0)
    const { nonce } = values
    const takes = `${NONCE_BYTES_MIN} to ${NONCE_BYTES_MAX} bytes in hex, which the verifier has chosen`
    if (nonce === undefined) throw new UsageError(`--nonce is missing: ${takes}`)
    if (!NONCE.test(nonce)) throw new UsageError(`--nonce takes ${takes}`)
    const body = { nonce: nonce.toLowerCase() }
    const made = await callAdmin(socketsOf(values), ADMIN_CALLS.evidence, body)
    if (values.out === undefined) printJson(made)
    else writeFile(values.out, `${JSON.stringify(made)}\n`)
    return 0
  },
}
