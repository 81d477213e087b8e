import { oneLine } from '../format/one-line.ts'
import { DOCTOR_CHECKS } from './doctor-checks.ts'
import type { Finding, Installation } from './doctor-finding.ts'
import { parseVerb, SOCKET_HELP, SOCKET_OPTIONS, socketsOf } from './options.ts'
import { print, printAnswer } from './output.ts'
import type { Verb } from './verb.ts'

const OPTIONS = {
  ...SOCKET_OPTIONS,
  config: { type: 'string', multiple: true },
  json: { type: 'boolean' },
} as const

const EXIT_FOUND = 1

export const doctor: Verb = {
  summary: 'say what is wrong with this installation',
  help: `Usage: metabind doctor [--json] [--config FILE]...

Looks at the agent, its sockets, files, firewall rules and at the SDK
configurations of users, and says what is wrong with each and what to do.
Changes nothing. As root it sees more. Exits with 0 where nothing is broken or
at risk, with 1 otherwise.

  --config FILE        the agent's configuration
  --json               print the findings as JSON
${SOCKET_HELP}`,
  run: async (args) => {
    const { values } = parseVerb(args, OPTIONS, 0)
    const installation: Installation = {
      sockets: socketsOf(values),
      configFiles: values.config,
      home: process.env.HOME,
      isRoot: process.getuid?.() === 0,
    }
    const findings = await examine(installation)
    if (values.json) printAnswer('doctor', { findings })
    else print(inWords(findings))
    return findings.some(({ weight }) => weight !== 'hint') ? EXIT_FOUND : 0
  },
}

/** All checks, one after the other; one that fails itself is a finding, and the others go on. */
async function examine(installation: Installation): Promise<Finding[]> {
  const findings: Finding[] = []
  for (const [name, check] of Object.entries(DOCTOR_CHECKS)) {
    try {
      findings.push(...(await check(installation)))
    } catch (error) {
      const says = `The check ${name} failed: ${error instanceof Error ? error.message : error}`
      findings.push({ id: `${name}-failed`, weight: 'broken', says, remedy: 'Report it.' })
    }
  }
  return findings
}

function inWords(findings: readonly Finding[]): string {
  if (findings.length === 0) return 'nothing is wrong\n'
  return findings
    .map(
      ({ id, weight, says, remedy }) =>
        `${weight.padEnd(7)} ${id}: ${oneLine(says)}\n        ${oneLine(remedy)}\n`,
    )
    .join('')
}
