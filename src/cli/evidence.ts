import { ADMIN_CALLS } from '../admin-api.ts'
import { callAdmin } from '../admin-client.ts'
import { UsageError } from '../errors.ts'
import { WRAPPERS, wrapDocument } from '../format/cmw.ts'
import { writeFile } from './files.ts'
import { choiceOf, parseVerb, SOCKET_HELP, SOCKET_OPTIONS, socketsOf } from './options.ts'
import { printBytes, printJson } from './output.ts'
import { qualifierOf } from './qualifier-options.ts'
import type { Verb } from './verb.ts'

export const evidence: Verb = {
  summary: 'prove which instance this is, to whoever sent a nonce',
  help: `Usage: metabind evidence --nonce HEX [--bind HEX] [--format FORMAT] [--out FILE]
                         [--json]

Has the TPM sign evidence of this instance for the verifier that sent the nonce,
and prints it as JSON, or writes it to FILE. Nothing in it is secret. metabind
verify checks it anywhere.

  --nonce HEX          the verifier's nonce: 16 to 64 bytes
  --bind HEX           1 to 64 bytes that go under every signature, such as the
                       hash of a TLS key, a certificate request or a report
  --format json|cmw-json|cmw-cbor
                       the document (default), or in a RATS wrapper (RFC 9999)
                       of JSON or CBOR
  --out FILE           write it there
  --json               as without it: evidence is JSON
${SOCKET_HELP}`,
  run: async (args) => {
    const options = {
      ...SOCKET_OPTIONS,
      nonce: { type: 'string' },
      bind: { type: 'string' },
      format: { type: 'string' },
      out: { type: 'string' },
      json: { type: 'boolean' },
    } as const
    const { values } = parseVerb(args, options, 0)
    const body = qualifierOf(values, 'which the verifier has chosen')
    const format = formatOf(values)
    const made = await callAdmin(socketsOf(values), ADMIN_CALLS.evidence, body)
    if (format === 'json' && values.out === undefined) printJson(made)
    else write(values.out, encoded(made, format))
    return 0
  },
}

const FORMATS = ['json', ...WRAPPERS] as const

/** @throws UsageError */
function formatOf({ format = 'json', json }: { format?: string; json?: boolean }) {
  const choice = choiceOf('--format', FORMATS, format)
  if (json && choice === 'cmw-cbor') throw new UsageError('--json is no CBOR: leave it out')
  return choice
}

function encoded(evidence: unknown, format: (typeof FORMATS)[number]): Buffer {
  const text = JSON.stringify(evidence)
  return format === 'json' ? Buffer.from(`${text}\n`) : wrapDocument(Buffer.from(text), format)
}

function write(file: string | undefined, content: Buffer): void {
  if (file === undefined) printBytes(content)
  else writeFile(file, content)
}
