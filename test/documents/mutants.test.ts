import { existsSync, globSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { AREAS } from '../mutate/areas.ts'
import { type Mutant, mutantsOf } from '../mutate/report.ts'
import { compare, parseExplanations } from '../mutate/survivors.ts'
import { scoreOf, withScore } from '../mutate/table.ts'

/** `./dev mutate` takes minutes. What of it needs no mutant is held here. */

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const read = (path: string) => readFileSync(ROOT + path, 'utf8')
const areas = Object.entries(AREAS)

test.each(areas)('%s: its sources and tests are there', (_, { sources, tests }) => {
  for (const glob of [...sources, ...tests]) {
    expect(globSync(glob, { cwd: ROOT }).length, glob).toBeGreaterThan(0)
  }
})

test('each file of the verifier is of one area', () => {
  const files = globSync('src/{certificates,measurements,results,verify}/*.ts', { cwd: ROOT })
  const found = areas.flatMap(([, { sources }]) => globSync([...sources], { cwd: ROOT }))
  const own = found.filter((file) => files.includes(file))
  expect(own.toSorted()).toEqual(files.toSorted())
})

test.each(areas.filter(([, { survivors }]) => existsSync(ROOT + survivors)))(
  '%s: each mutant that is explained stands in its source',
  (_, { sources, survivors }) => {
    const files = globSync([...sources], { cwd: ROOT })
    for (const { file, mutants } of parseExplanations(read(survivors))) {
      expect(files).toContain(file)
      const lines = read(file).split('\n')
      for (const { line } of mutants === 'unreached' ? [] : mutants) {
        expect(lines.map((one) => one.trim())).toContain(line)
      }
    }
  },
)

const mutant = (to: string, status: Mutant['status']): Mutant => ({
  ...{ file: 'a.ts', lineNumber: 1, line: 'if (a < b) c()', from: 'a < b' },
  to,
  status,
})

describe('mutants that live on, and their explanations', () => {
  const one = { line: 'if (a < b) c()', from: 'a < b', to: 'a <= b' }
  const why = 'nobody can tell these two apart'
  const explained = [{ why, file: 'a.ts', mutants: [one] }]

  test('fit together if each has the other', () => {
    const found = compare([mutant('a <= b', 'Survived'), mutant('true', 'Killed')], explained)
    expect(found).toEqual({ unexplained: [], stale: [] })
  })

  test('do not if one is not explained', () => {
    const lives = [mutant('true', 'Survived'), mutant('false', 'NoCoverage')]
    const found = compare([mutant('a <= b', 'Survived'), ...lives], explained)
    expect(found).toEqual({ unexplained: lives, stale: [] })
  })

  test.each(['Killed', 'Timeout'] as const)('do not if the mutant is %s now', (status) => {
    expect(compare([mutant('a <= b', status)], explained).stale).toHaveLength(1)
    expect(compare([], explained).stale).toHaveLength(1)
  })

  test('unreached lines are explained together, and only they', () => {
    const unreached = [{ why, file: 'a.ts', mutants: 'unreached' as const }]
    const living = [mutant('true', 'NoCoverage'), mutant('a <= b', 'Survived')]
    expect(compare(living, unreached)).toEqual({ unexplained: [living[1]], stale: [] })
    expect(compare([mutant('a <= b', 'Survived')], unreached).stale).toHaveLength(1)
  })

  test('a reason of a word is none', () => {
    expect(() =>
      parseExplanations('[{"why":"fine","file":"a.ts","mutants":"unreached"}]'),
    ).toThrow()
  })
})

test('a mutant is told by the line that it begins on, each part on one line', () => {
  const source = 'a()\n  if (a <\n    b) c()\n'
  const location = { start: { line: 2, column: 7 }, end: { line: 3, column: 6 } }
  const found = { location, mutatorName: 'x', replacement: '{\n}', status: 'Survived' }
  expect(mutantsOf({ files: { 'a.ts': { source, mutants: [found] } } })).toEqual([
    { file: 'a.ts', lineNumber: 2, line: 'if (a <', from: 'a < b', to: '{ }', status: 'Survived' },
  ])
})

describe('the score', () => {
  const mutants = [
    ...Array.from({ length: 7 }, () => mutant('true', 'Killed')),
    ...(['Timeout', 'Survived', 'NoCoverage', 'Ignored'] as const).map((s) => mutant('b', s)),
  ]

  test('counts what is noticed of what is not ignored', () => {
    const score = { area: 'a', mutants: 10, killed: 7, timedOut: 1, survived: 2, percent: 80 }
    expect(scoreOf('a', mutants)).toEqual(score)
  })

  test('takes the place of the row that was there', () => {
    const page = read('docs/reliability.md')
    const once = withScore(page, { ...scoreOf('zero', mutants), area: 'zero' })
    expect(once).toContain('| zero | 10 | 7 | 1 | 2 | 80.0 % |\n\n')
    const twice = withScore(once, scoreOf('zero', mutants.slice(0, 7)))
    expect(twice).toContain('| zero | 7 | 7 | 0 | 0 | 100.0 % |\n\n')
    expect(twice.length - page.length).toBe('| zero | 7 | 7 | 0 | 0 | 100.0 % |\n'.length)
  })
})
