import { UsageError } from '../errors.ts'
import {
  CLAIMS,
  decodeAnswer,
  decodeKeptSecret,
  encodeChallenge,
  encodeKeptSecret,
  encodeToolsCredential,
  type FinishedActivation,
  finishChallenge,
  makeChallenge,
  type Verified,
  verifyEvidence,
} from '../verify/index.ts'
import { writeFile, writeSecretFile } from './files.ts'
import { actionOf, parseVerb } from './options.ts'
import { oneLine, print, printAnswer } from './output.ts'
import { asRows } from './table.ts'
import type { Verb } from './verb.ts'
import { EVIDENCE_HELP, EVIDENCE_OPTIONS, readBytes, verifyOptions } from './verify-options.ts'

export const verify: Verb = {
  summary: 'verify evidence of an instance',
  help: `Usage: metabind verify FILE --nonce HEX [OPTIONS] [--json]
       metabind verify challenge FILE --nonce HEX [OPTIONS] --out CHALLENGE
                                 --secret-out SECRET
       metabind verify finish ANSWER --secret SECRET

Verifies the evidence in FILE (- for standard input). Needs no agent, no TPM and
no network. challenge verifies it too, and makes a challenge that only the TPM
with its keys can answer; finish compares the answer of metabind activate with
the secret that was kept.

${EVIDENCE_HELP}  --answer ANSWER      the answer to a challenge, with --secret: proves where
                       the AK is
  --secret SECRET      the secret that was kept with the challenge
  --allow-provisional  exit with 0 where the result is provisional only
  --out CHALLENGE      where the challenge goes; it is not secret
  --secret-out SECRET  where the secret goes: mode 0600, not for the instance
  --tools-out FILE     the challenge also as a file for tpm2_activatecredential
  --json               print the result as JSON
  -h, --help           print this text

Exit codes: 0 verified, 1 refused or not readable, 2 wrong usage, 3 provisional:
every check held, but without --answer (or a certificate of the attestation key)
nothing shows that the keys are in a TPM.
`,
  run: async (args) => {
    const [word, ...rest] = args
    if (word === 'challenge') return challenge(rest)
    if (word === 'finish') return finish(rest)
    return evidence(args)
  },
}

/** Not 0: a script that looks at the exit code alone would take software's keys for a TPM's. */
const EXIT_PROVISIONAL = 3

const ANSWER_OPTIONS = { answer: { type: 'string' }, secret: { type: 'string' } } as const

function evidence(args: readonly string[]): number {
  const options = {
    ...EVIDENCE_OPTIONS,
    ...ANSWER_OPTIONS,
    'allow-provisional': { type: 'boolean' },
    json: { type: 'boolean' },
  } as const
  const { values, positionals } = parseVerb(args, options, 2)
  // A file has no second one behind it: then the first was meant as a word.
  if (positionals.length > 1) actionOf('verify', ['challenge', 'finish'], positionals[0])
  const asked = verifyOptions(values)
  const activation = activationOf(values)
  const bytes = readBytes(fileOf(positionals))
  const verified = verifyEvidence(bytes, { ...asked, activation, allowProvisional: true })
  if (values.json) printAnswer('verify', verified)
  else print(inWords(verified))
  return verified.provisional && values['allow-provisional'] !== true ? EXIT_PROVISIONAL : 0
}

function activationOf(values: {
  readonly answer?: string
  readonly secret?: string
}): FinishedActivation | undefined {
  const { answer, secret } = values
  if (answer === undefined && secret === undefined) return undefined
  if (answer === undefined || secret === undefined) {
    throw new UsageError('--answer and --secret belong together')
  }
  return finishChallenge(
    decodeAnswer(readBytes(answer)),
    decodeKeptSecret(readBytes(secret)),
    new Date(),
  )
}

function challenge(args: readonly string[]): number {
  const options = {
    ...EVIDENCE_OPTIONS,
    out: { type: 'string' },
    'secret-out': { type: 'string' },
    'tools-out': { type: 'string' },
    json: { type: 'boolean' },
  } as const
  const { values, positionals } = parseVerb(args, options, 1)
  const { out, 'secret-out': secretOut, 'tools-out': toolsOut } = values
  if (out === undefined || secretOut === undefined) {
    throw new UsageError('--out and --secret-out are missing')
  }
  const made = makeChallenge(readBytes(fileOf(positionals)), verifyOptions(values))
  writeSecretFile(secretOut, encodeKeptSecret(made.kept))
  writeFile(out, encodeChallenge(made.challenge))
  if (toolsOut !== undefined) writeFile(toolsOut, encodeToolsCredential(made.challenge))
  const akName = made.kept.akName.toString('hex')
  if (values.json) printAnswer('verify-challenge', { akName, challenge: out, secret: secretOut })
  else print(`challenge for AK ${akName}: ${oneLine(out)}\n`)
  return 0
}

function finish(args: readonly string[]): number {
  const options = { ...ANSWER_OPTIONS, json: { type: 'boolean' } } as const
  const { values, positionals } = parseVerb(args, options, 1)
  if (values.secret === undefined) throw new UsageError('--secret is missing')
  const done = activationOf({ answer: fileOf(positionals), secret: values.secret })
  const [akName, ekName] = [done?.akName.toString('hex'), done?.ekName.toString('hex')]
  if (values.json) printAnswer('verify-finish', { akName, ekName })
  else print(`proven: AK ${akName} is in the TPM of EK ${ekName}\n`)
  return 0
}

function fileOf([file]: readonly string[]): string {
  if (file === undefined) throw new UsageError('FILE is missing')
  return file
}

const PROVISIONAL = 'provisional: software could have made all of this; finish a challenge'

function inWords(verified: Verified): string {
  const rows: [string, string][] = [
    ['result', verified.provisional ? PROVISIONAL : 'verified'],
    ['instance', verified.instanceId],
    ['identity', verified.iid],
    ['EK', `${verified.ek.kind} ${verified.ek.name}`],
    ['AK', verified.ak.name],
    ['SK', verified.sk.name],
    ['anchor', describeAnchor(verified.anchor)],
    ...verified.proven.map((claim): [string, string] => ['proven', CLAIMS[claim].proven]),
    ...verified.notProven.map((claim): [string, string] => ['not proven', CLAIMS[claim].notProven]),
  ]
  return asRows(rows, 12)
}

function describeAnchor(anchor: Verified['anchor']): string {
  if (anchor.kind === 'ek-pin') return `pinned EK ${anchor.spkiSha256}`
  const what = anchor.kind === 'ek-certificate' ? 'EK certificate' : 'AK certificate'
  return `${what} under ${anchor.fingerprints.at(-1)}`
}
