import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import { UnknownWord } from '../../src/cli/options.ts'
import { VERBS } from '../../src/cli/verbs.ts'
import { UsageError } from '../../src/errors.ts'
import { runNode } from '../harness/metabind.ts'
import { CLI, DAEMON } from '../harness/programs.ts'

/** What docs/cli.md says of every verb. No agent runs here: whoever asked for one would fail otherwise. */

const DEV = fileURLToPath(new URL('../../dev', import.meta.url))
const UP = fileURLToPath(new URL('../harness/up.ts', import.meta.url))
const COLUMNS = 80
const NAMES = Object.keys(VERBS)
// They print nothing of their own.
const SILENT = ['exec', 'revoke']

const metabind = (...args: string[]) => runNode([CLI, ...args])

/** The words that stand behind a verb and say what it does, by its usage. */
function wordsOf(name: string): string[] {
  const usage = new RegExp(
    `^(?:Usage:|      ) metabind ${name} ([a-z][a-z-]*(?: \\| [a-z][a-z-]*)*)`,
    'gm',
  )
  const help = VERBS[name]?.help ?? ''
  return [...help.matchAll(usage)].flatMap(([, words = '']) => words.split(' | '))
}

/** The options of a verb, each with the name of its value if it takes one. */
function optionsOf(name: string): { option: string; value: string | undefined }[] {
  const lines = (VERBS[name]?.help ?? '').matchAll(
    /^ {2}(?:-\w, )?(--[\w-]+)(?: (\S+))?(?: {2,}|$)/gm,
  )
  return [...lines].map(([, option = '', value]) => ({ option, value }))
}

/** A letter too many. Never a word that there is: some of them change the firewall. */
const mistyped = (word: string) => `${word}${word.at(-1)}`

test('what is read of the help is there', () => {
  expect(wordsOf('lockdown')).toEqual(['on', 'confirm', 'off', 'status'])
  expect(wordsOf('policy')).toEqual(['check', 'suggest'])
  expect(wordsOf('verify')).toEqual(['challenge', 'finish', 'anchors', 'suggest-policy'])
  expect(optionsOf('token')).toContainEqual({ option: '--ttl', value: 'DURATION' })
  expect(optionsOf('verify')).toContainEqual({ option: '--identity-certificate', value: 'FILE' })
})

describe.concurrent('help and version', () => {
  test.each(NAMES)('%s: the same help however it is asked for', async (name) => {
    const word = wordsOf(name)[0]
    const asked = [
      ['help', name],
      [name, '--help'],
      [name, '-h'],
      ...(word === undefined || name === 'exec' ? [] : [[name, word, '-h']]),
    ]
    for (const args of asked) {
      expect(await metabind(...args)).toMatchObject({
        code: 0,
        stderr: '',
        stdout: VERBS[name]?.help,
      })
    }
    const version = await metabind(name, '-V')
    expect(version).toMatchObject({ code: 0, stdout: expect.stringMatching(/^metabind \d/) })
  })

  test('of the whole, and the version, in every form', async () => {
    const list = await metabind('help')
    for (const args of [[], ['--help'], ['-h'], ['help', 'help']]) {
      expect(await metabind(...args)).toEqual(list)
    }
    const version = await metabind('version')
    for (const args of [['--version'], ['-V'], ['status', '--version']]) {
      expect(await metabind(...args)).toEqual(version)
    }
    for (const args of [['-h'], ['-V']]) {
      expect(await runNode([DAEMON, ...args])).toMatchObject({ code: 0, stderr: '' })
    }
  })

  test('no line is longer than a terminal is wide', async () => {
    const texts = [
      (await metabind('help')).stdout,
      (await runNode([DAEMON, '--help'])).stdout,
      ...Object.values(VERBS).map(({ help }) => help),
    ]
    const long = texts.flatMap((text) => text.split('\n')).filter((line) => line.length > COLUMNS)
    expect(long).toEqual([])
  })
})

describe.each(NAMES)('%s', (name) => {
  const run = (...args: string[]) => VERBS[name]?.run(args) ?? Promise.reject(new Error(name))

  test('says how it is used, what -h does, and has --json if it prints anything', () => {
    const help = VERBS[name]?.help ?? ''
    expect(help).toMatch(new RegExp(`^Usage: metabind ${name}\\b`))
    expect(help).toMatch(/^ {2}-h, --help +print this text\n/m)
    expect(help.endsWith('\n')).toBe(true)
    const hasJson = optionsOf(name).some(({ option }) => option === '--json')
    expect(hasJson).toBe(!SILENT.includes(name))
  })

  test('proposes the word that was meant', async () => {
    for (const word of wordsOf(name)) {
      const wrong = mistyped(word)
      // A file could be called so: what stands behind it shows that it is none.
      const said = run(wrong, ...(name === 'verify' ? ['file'] : []))
      const full = `${name} ${wrong}`
      await expect(said).rejects.toMatchObject({
        word: full,
        known: [...wordsOf(name).map((one) => `${name} ${one}`)],
      })
      await expect(said).rejects.toBeInstanceOf(UnknownWord)
    }
    const [takesWord] = ['audit', 'config', 'lockdown', 'policy'].filter((one) => one === name)
    if (takesWord !== undefined) await expect(run()).rejects.toThrow(/takes a word: /)
  })

  test('proposes the option that was meant, and wants its value', async () => {
    const action = name === 'verify' ? [] : wordsOf(name).slice(0, 1)
    // Of verify challenge and verify finish.
    const ofWords = name === 'verify' ? ['--out', '--secret-out', '--tools-out'] : []
    for (const { option, value } of optionsOf(name)) {
      const wrong = mistyped(option)
      if (option !== '--help') {
        const said = run(...action, `${wrong}=x`)
        await expect(said).rejects.toMatchObject({ word: wrong })
        const { known } = (await said.catch((error) => error)) as UnknownWord
        if (!ofWords.includes(option)) expect(known).toContain(option)
      }
      if (value === undefined && option !== '--help') {
        await expect(run(...action, `${option}=x`)).rejects.toThrow(`${option} takes no value`)
      }
      if (value === undefined || ofWords.includes(option)) continue
      const said = run(...action, option)
      await expect(said).rejects.toThrow(`${option} needs a value`)
      await expect(said).rejects.toBeInstanceOf(UsageError)
    }
  })

  test('takes times in one way, and looks at them first', async () => {
    const help = VERBS[name]?.help ?? ''
    expect(help).not.toMatch(/--[\w-]+ (SECONDS|MINUTES|MS|TIME|HOURS)\b/)
    const action = name === 'lockdown' ? ['on', '--config', '/nonexistent'] : []
    for (const { option, value } of optionsOf(name)) {
      if (value === undefined) continue
      if (value === 'DURATION') {
        await expect(run(...action, `${option}=10y`)).rejects.toThrow(
          new RegExp(
            `^${option} takes a duration from 1s to \\d+[hd], such as 600, 10m or 2h, not '10y'$`,
          ),
        )
      }
      if (/^[a-z]+(\|[a-z]+)+$/.test(value)) {
        const rest = { exec: ['true'], verify: ['--nonce', 'ab'.repeat(16), '/nonexistent'] }
        const more = rest[name as keyof typeof rest] ?? []
        await expect(run(...action, `${option}=wrong`, ...more)).rejects.toThrow(
          new RegExp(`^${option} takes [a-z, ]+ or [a-z]+, not 'wrong'$`),
        )
      }
    }
  })
})

describe('./dev', () => {
  const line = /^dev[^\n]*: [^\n]+ \(try \.\/dev help\)\n$/

  test.each(['up', 'reload', 'restart', 'reboot', 'metabind', 'upp'])(
    'wrong usage is exit 2, before anything is installed: %s',
    async (verb) => {
      const said = await promisify(execFile)(DEV, [verb]).catch((error) => error)
      expect(said).toMatchObject({ code: 2, stdout: '', stderr: expect.stringMatching(line) })
    },
  )

  test.each([[['a', 'b']], [['../a']], [['a', '--instnace-id', 'x']], [['a', '--source']]])(
    'up: wrong usage is exit 2: %j',
    async (args) => {
      const said = await runNode([UP, '.dev', ...args])
      expect(said).toMatchObject({ code: 2, stdout: '', stderr: expect.stringMatching(line) })
    },
  )

  test.each(['up', 'restart'])('%s -h is the help', async (verb) => {
    const { stdout } = await promisify(execFile)(DEV, [verb, '-h'])
    expect(stdout).toMatch(/^Usage: \.\/dev VERB\n/)
  })
})

test('docs/cli.md names the exit codes that the helps name', () => {
  const page = readFileSync(new URL('../../docs/cli.md', import.meta.url), 'utf8')
  for (const code of ['0', '1', '2', '126', '127', '141']) {
    expect(page).toMatch(new RegExp(`^\\| [^|]*\\b${code}\\b[^|]*\\|`, 'm'))
  }
})
