import { ADMIN_CALLS } from '../admin-api.ts'
import { callAdmin } from '../admin-client.ts'
import { UsageError } from '../errors.ts'
import { ACTIVATION_BYTES_MAX, decodeChallenge } from '../format/activation.ts'
import { readSmallFile, writeFile } from './files.ts'
import { parseVerb, SOCKET_HELP, SOCKET_OPTIONS, socketsOf } from './options.ts'
import { printJson } from './output.ts'
import type { Verb } from './verb.ts'

export const activate: Verb = {
  summary: "answer a verifier's challenge",
  help: `Usage: metabind activate (CHALLENGE | -) [--out FILE] [--json]

Answers the challenge that metabind verify challenge made ('-': on standard
input). Only the TPM that the evidence came from can. Prints the answer as JSON,
or writes it to FILE; take it to metabind verify finish.

  --out FILE           write it there
  --json               as without it: the answer is JSON
${SOCKET_HELP}`,
  run: async (args) => {
    const options = {
      ...SOCKET_OPTIONS,
      out: { type: 'string' },
      json: { type: 'boolean' },
    } as const
    const { values, positionals } = parseVerb(args, options, 1)
    const [file] = positionals
    if (file === undefined)
      throw new UsageError('CHALLENGE is missing: the file with the challenge')
    const challenge = await readSmallFile(file, ACTIVATION_BYTES_MAX)
    // A wrong file is told apart here, where its name is known.
    decodeChallenge(Buffer.from(challenge))
    const answer = await callAdmin(socketsOf(values), ADMIN_CALLS.activate, { challenge })
    if (values.out === undefined) printJson(answer)
    else writeFile(values.out, `${JSON.stringify(answer)}\n`)
    return 0
  },
}
