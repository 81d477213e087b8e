import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { CLI } from '../harness/programs.ts'

const README = readFileSync(new URL('../../README.md', import.meta.url), 'utf8')
const DEV = fileURLToPath(new URL('../../dev', import.meta.url))

test('README.md lists every verb of the command line, and no other', () => {
  const help = execFileSync(process.execPath, [CLI, '--help'], { encoding: 'utf8' })
  const verbs = [...help.matchAll(/^ {2}(\w+) {2,}/gm)].map(([, verb]) => verb)
  const listed = [...README.matchAll(/^\| `metabind (\w+)/gm)].map(([, verb]) => verb)
  expect(new Set(listed)).toEqual(new Set(verbs))
  expect(verbs).toContain('status')
})

test('./dev help lists every verb that the script knows', () => {
  const script = readFileSync(DEV, 'utf8')
  const help = execFileSync(DEV, ['help'], { encoding: 'utf8' })
  const cases = script.slice(script.indexOf('case "$verb" in\n  demo)'))
  const known = [...cases.matchAll(/^ {2}([\w| ]+)\)/gm)].flatMap(([, names]) =>
    names?.split(' | '),
  )
  expect(known).toContain('demo')
  for (const verb of known) expect(help).toMatch(new RegExp(`^  ${verb}\\b`, 'm'))
})
