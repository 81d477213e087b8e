import { resolve } from 'node:path'
import { UsageError } from '../errors.ts'
import { oneLine } from '../format/one-line.ts'
import {
  CLAIMS,
  decodeAnswer,
  decodeKeptSecret,
  decodeRecord,
  encodeChallenge,
  encodeKeptSecret,
  encodeRecord,
  encodeToolsCredential,
  type FinishedActivation,
  finishChallenge,
  makeChallenge,
  unwrapEvidence,
  type VerificationRecord,
  type Verified,
  verifyEvidence,
} from '../verify/index.ts'
import { statOf, writeFile, writeSecretFile } from './files.ts'
import { actionOf, parseVerb } from './options.ts'
import { print, printAnswer } from './output.ts'
import { withRecord } from './record-lock.ts'
import { asRows } from './table.ts'
import type { Verb } from './verb.ts'
import { verifyAnchors } from './verify-anchors.ts'
import { EVIDENCE_HELP, EVIDENCE_OPTIONS, verifyOptions } from './verify-options.ts'
import { askedResult, RESULT_HELP, RESULT_OPTIONS, resultWriter } from './verify-result.ts'
import { suggestFromEvidence } from './verify-suggest.ts'
import { readBytes } from './verify-trust.ts'

export const verify: Verb = {
  summary: 'verify evidence of an instance',
  help: `Usage: metabind verify FILE --nonce HEX [OPTIONS] [--json]
       metabind verify challenge FILE --nonce HEX [OPTIONS] --out CHALLENGE
                                 --secret-out SECRET
       metabind verify finish ANSWER --secret SECRET
       metabind verify anchors FILE [--trust NAME|DIR] [--anchors DIR] [--json]
       metabind verify suggest-policy FILE... [OPTIONS] [--json]

Verifies the evidence in FILE (- for standard input). Needs no agent, no TPM and
no network. challenge verifies it too, and makes a challenge that only the TPM
with its keys can answer; finish compares the answer of metabind activate with
the secret that was kept. anchors verifies nothing: it lists what the
certificates in FILE (evidence, PEM or DER) need, and which set has it.
suggest-policy prints a PCR policy for machines such as those whose evidence it
is given, which you know to be good; its options are those that say whom to
trust.

${EVIDENCE_HELP}  --answer ANSWER      the answer to a challenge, with --secret: proves where
                       the AK is
  --secret SECRET      the secret that was kept with the challenge
  --record FILE        what was accepted of this instance the last time; it has
                       to go on from there. Written anew if it is verified
${RESULT_HELP}  --allow-provisional  exit with 0 where the result is provisional only
  --out CHALLENGE      where the challenge goes; it is not secret
  --secret-out SECRET  where the secret goes: mode 0600, not for the instance
  --tools-out FILE     the challenge also as a file for tpm2_activatecredential
  --json               print the result as JSON
  -h, --help           print this text

Exit codes: 0 verified, 1 refused or not readable, 2 wrong usage, 3 provisional:
every check held, but without --answer (or a certificate of the attestation key)
nothing shows that the keys are in a TPM; of anchors: something is missing.
`,
  run: async (args) => {
    const [word, ...rest] = args
    if (word === 'challenge') return challenge(rest)
    if (word === 'finish') return finish(rest)
    if (word === 'anchors') return verifyAnchors(rest, fileOf)
    if (word === 'suggest-policy') return suggestFromEvidence(rest)
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
    ...RESULT_OPTIONS,
    'allow-provisional': { type: 'boolean' },
    record: { type: 'string' },
    json: { type: 'boolean' },
  } as const
  const { values, positionals } = parseVerb(args, options, 2)
  // A file has no second one behind it: then the first was meant as a word.
  if (positionals.length > 1) {
    actionOf('verify', ['challenge', 'finish', 'anchors', 'suggest-policy'], positionals[0])
  }
  const result = askedResult(values)
  requireWritable({ '--record': values.record, '--result': values.result })
  const asked = verifyOptions(values)
  const writeResult = result && resultWriter(result, asked)
  const activation = activationOf(values)
  const bytes = unwrapEvidence(readBytes(fileOf(positionals)))
  const verified = withRecord(values.record, () => {
    const last = recordIn(values.record)
    const found = verifyEvidence(bytes, { ...asked, activation, last, allowProvisional: true })
    // Before the record: whom this fails could not show the same evidence again.
    writeResult?.(found)
    // Software could make up provisional evidence, and its counters would lock out the true machine.
    if (values.record !== undefined && found.verified) {
      writeFile(values.record, encodeRecord(found.record))
    }
    return found
  })
  if (values.json) printAnswer('verify', verified)
  else print(inWords(verified, values.record))
  return verified.provisional && values['allow-provisional'] !== true ? EXIT_PROVISIONAL : 0
}

/** The record in a file; none, if there is no such file yet. One that cannot be read is not none: nothing would go on from it. */
function recordIn(file: string | undefined): VerificationRecord | undefined {
  const isThere = file !== undefined && statOf(file) !== undefined
  return isThere ? decodeRecord(readBytes(file)) : undefined
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
  requireWritable({ '--out': out, '--secret-out': secretOut, '--tools-out': toolsOut })
  const made = makeChallenge(unwrapEvidence(readBytes(fileOf(positionals))), verifyOptions(values))
  writeSecretFile(secretOut, encodeKeptSecret(made.kept))
  writeFile(out, encodeChallenge(made.challenge))
  if (toolsOut !== undefined) writeFile(toolsOut, encodeToolsCredential(made.challenge))
  const akName = made.kept.akName.toString('hex')
  if (values.json) printAnswer('verify-challenge', { akName, challenge: out, secret: secretOut })
  else print(`challenge for AK ${akName}: ${oneLine(out)}\n`)
  return 0
}

/**
 * What is written to one file twice is lost the first time; and standard output is for what was found.
 *
 * @throws UsageError
 */
function requireWritable(files: Readonly<Record<string, string | undefined>>): void {
  const named = Object.entries(files).flatMap(([option, file]) =>
    file === undefined ? [] : [{ option, path: resolve(file) }],
  )
  const standard = named.find(({ option }) => files[option] === '-')
  if (standard !== undefined) throw new UsageError(`${standard.option} takes a file, and not -`)
  for (const { option, path } of named) {
    const other = named.find((one) => one.path === path)?.option
    if (other !== option) throw new UsageError(`${other} and ${option} name one file`)
  }
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

function inWords(verified: Verified, record: string | undefined): string {
  const kept = verified.verified ? `kept in ${oneLine(record ?? '')}` : 'not kept: provisional'
  const rows: [string, string][] = [
    ['result', verified.provisional ? PROVISIONAL : 'verified'],
    ['instance', verified.instanceId],
    ['identity', verified.iid],
    ['EK', `${verified.ek.kind} ${verified.ek.name}`],
    ['AK', verified.ak.name],
    ['SK', verified.sk.name],
    ...(verified.bind === undefined ? [] : [['bound', verified.bind] as [string, string]]),
    ...replayedInWords(verified),
    ...verified.logsLeftOut.map((log): [string, string] => ['left out', `the log of ${log}`]),
    ['anchor', describeAnchor(verified.anchor)],
    ...verified.policy.map((found): [string, string] => ['policy', found]),
    ...(record === undefined ? [] : [['record', kept] as [string, string]]),
    ...verified.proven.map((claim): [string, string] => ['proven', CLAIMS[claim].proven]),
    ...verified.notProven.map((claim): [string, string] => ['not proven', CLAIMS[claim].notProven]),
  ]
  return asRows(rows, 12)
}

/** A row for each PCR that events led to. */
function replayedInWords({ replayed }: Verified): [string, string][] {
  return Object.entries(replayed).flatMap(([bank, pcrs]) =>
    Object.entries(pcrs)
      .filter(([, { events }]) => events > 0)
      .map(([pcr, { logs, events, laterEvents, systemd }]): [string, string] => {
        const later = laterEvents === 0 ? '' : `; ${laterEvents} later, not quoted`
        const said = systemd.length === 0 ? '' : `: ${systemd.join(', ')}`
        return [
          'replayed',
          `${bank} PCR ${pcr} from ${logs.join(', ')}, events ${events}${later}${said}`,
        ]
      }),
  )
}

function describeAnchor(anchor: Verified['anchor']): string {
  if (anchor.kind === 'ek-pin') return `pinned EK ${anchor.spkiSha256}`
  const what = anchor.kind === 'ek-certificate' ? 'EK certificate' : 'AK certificate'
  return `${what} under ${anchor.fingerprints.at(-1)}`
}
