import { existsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { sqliteRepository } from '../../src/registrar-repository/sqlite-repository.ts'
import { runNode, scratch } from '../harness/metabind.ts'
import { CLI } from '../harness/programs.ts'
import { enrolledRow, NOW_MS, otherRow } from '../registrar/enrolled.ts'
import { registrarCommand } from './registrar-command.ts'

/** The administrator's verbs, as commands on a database. */

const stack = new AsyncDisposableStack()
let directory: string
let config: string
let database: string
let count = 0
beforeAll(async () => {
  directory = stack.use(await scratch()).path
})
afterAll(() => stack.disposeAsync())
beforeEach(async () => {
  count += 1
  config = join(directory, `${count}.toml`)
  database = join(directory, `${count}.db`)
  const storage = `[storage]\ndatabase = "${database}"\nmaster_key = "${directory}/key"\n`
  await writeFile(config, `url = "https://registrar.example"\n${storage}`)
})

const run = (...args: string[]) => registrarCommand({ config }, ...args)

async function fill(
  ...rows: Parameters<ReturnType<typeof sqliteRepository>['commit']>[0]['instances'][number][]
) {
  const repository = sqliteRepository(database)
  await repository.commit({ instances: rows, events: [{ event: 'test' }] }, NOW_MS)
  await repository.close()
}

test('list and show print what is known, in words and as JSON', async () => {
  const rows = [enrolledRow(), otherRow(2, { state: 'held' })]
  await fill(...rows)
  const { stdout, stderr, code } = await run('list')
  expect([code, stderr]).toEqual([0, ''])
  expect(stdout.split('\n').map((line) => line.split(/ +/).slice(0, 2))).toEqual([
    [rows[0]?.iid, 'active'],
    [rows[1]?.iid, 'held'],
    [''],
  ])
  const lines = (await run('list', '--json')).stdout.trim().split('\n')
  expect(lines.map((line) => JSON.parse(line))).toEqual(rows)
  expect((await run('show', 'i-2')).stdout).toMatch(/^state {5}held$/m)
  const json = JSON.parse((await run('show', 'aliyun:i-one', '--json')).stdout)
  expect(json).toEqual({ ...rows[0], uses: [] })
})

test('a word that names none, or several, is refused; an iid may be cut', async () => {
  await fill(otherRow(1), otherRow(2, { iid: `${'01'.repeat(15)}02` }))
  expect((await run('show', 'i-none')).stderr).toMatch(/ENROL_UNKNOWN: .* called i-none\. .* list /)
  expect((await run('show', '0101')).stderr).toContain('several')
  expect((await run('show', '01')).stderr).toContain('ENROL_UNKNOWN')
  expect((await run('show', '01'.repeat(16))).stdout).toContain('aliyun:i-1')
})

describe('what is done to an instance', () => {
  test.each([
    ['approve', 'held', 'active'],
    ['approve', 'suspended', 'active'],
    ['suspend', 'active', 'suspended'],
    ['evict', 'banned', 'evicted'],
    ['ban', 'suspended', 'banned'],
  ] as const)(
    '%s of one that is %s makes it %s, with who and why in the chain',
    async (verb, from, to) => {
      await fill(enrolledRow({ state: from, abandoned: [[1, 2]] }))
      const done = await run(verb, 'i-one', '--reason', 'as a test', '--json')
      expect(JSON.parse(done.stdout)).toMatchObject({ state: to, revision: 2, reason: 'as a test' })
      const events = (await run('events')).stdout.trim().split('\n')
      expect(JSON.parse(events.at(-1) ?? '')).toMatchObject({
        subject: 'aliyun:i-one',
        was: from,
        reason: 'as a test',
        by: `uid ${process.getuid?.()}`,
      })
    },
  )

  test('what does not fit its state is refused, and changes nothing', async () => {
    await fill(enrolledRow({ state: 'banned' }))
    for (const verb of ['approve', 'suspend', 'ban']) {
      const { code, stderr } = await run(verb, 'i-one')
      expect([code, stderr]).toEqual([1, expect.stringContaining('REGISTRAR_STATE')])
    }
    expect(JSON.parse((await run('show', 'i-one', '--json')).stdout).revision).toBe(1)
  })
})

test('the chain of events is one that metabind audit verify takes, until a byte of it changes', async () => {
  await fill(enrolledRow())
  await run('suspend', 'i-one')
  const { stdout } = await run('events')
  const file = join(directory, 'events')
  await writeFile(file, stdout)
  const verified = await runNode([CLI, 'audit', 'verify', file])
  expect(verified.stderr + verified.stdout).not.toContain('broken')
  expect(verified.code).toBe(0)
  await writeFile(file, stdout.replace('instance.suspended', 'instance.approved_'))
  expect((await runNode([CLI, 'audit', 'verify', file])).code).not.toBe(0)
})

describe('wrong usage and missing files', () => {
  test.each([
    [[], 2, 'a verb is missing'],
    [['fly'], 2, "there is no verb 'fly' (try"],
    [['lits'], 2, "there is no verb 'lits'; did you mean 'list'? (try"],
    [['aprove', 'i-one'], 2, "there is no verb 'aprove'; did you mean 'approve'?"],
    [['show'], 2, 'show takes one INSTANCE'],
    [['list', 'all'], 2, 'list takes no words'],
    [['list', '--fly'], 2, '--fly'],
    [['list', '--reason', 'x'], 2, '--reason is for'],
    [['list'], 1, 'REGISTRAR_DATABASE'],
  ])('%j ends with %i', async (args, code, says) => {
    const done = await run(...args)
    expect([done.code, done.stderr]).toEqual([code, expect.stringContaining(says)])
    expect(done.stderr.trim().split('\n')).toHaveLength(1)
  })

  test('help fits a terminal, and the version is the package’s', async () => {
    const { stdout } = await run('--help')
    expect(stdout.split('\n').filter((line) => line.length > 79)).toEqual([])
    expect((await run('-V')).stdout).toMatch(/^metabind-registrar \d+\.\d+\.\d+/)
  })

  test('check says what is wrong with the configuration and its files, and makes none', async () => {
    const valid = await run('check')
    expect([valid.code, valid.stderr, existsSync(database)]).toEqual([0, '', false])
    expect(valid.stdout).toMatch(`configuration  valid: ${config}\ntrust          valid\n`)
    const json = (await run('check', '--json')).stdout.trim().split('\n')
    expect(JSON.parse(json[1] ?? '')).toEqual({ what: 'trust', isUsable: true, says: 'valid' })
    const good = await readFile(config, 'utf8')
    const policy = join(directory, 'policy.json')
    await writeFile(policy, 'no policy')
    for (const [wrong, says] of [
      [
        '[trust]\nek_anchors = "/none"\n',
        /^trust {10}FILE_UNUSABLE: .* \/none: it is not there\. /m,
      ],
      [`[admission]\npcr_policy = "${policy}"\n`, /^trust {10}VERIFY_PCR_POLICY_FILE/m],
    ] as const) {
      await writeFile(config, good + wrong)
      const { code, stdout, stderr } = await run('check')
      expect([code, stdout, stderr]).toEqual([1, expect.stringMatching(says), ''])
    }
    for (const [wrong, says] of [
      [
        '[[audience]]\nnmae = "a"\n',
        /:6: audience\.0\.nmae: unknown key\. .*metabind-registrar check/,
      ],
      [
        '[[audience]]\ndpop = "optional"\n',
        /audience\.0\.name: is missing: must be text in quotes/,
      ],
    ] as const) {
      await writeFile(config, good + wrong)
      const { code, stderr } = await run('check')
      expect([code, stderr]).toEqual([1, expect.stringMatching(says)])
    }
  })

  test('a configuration that is none is told with its line, before anything is opened', async () => {
    await writeFile(config, 'url = "http://registrar.example"\n')
    const { code, stderr } = await run('serve')
    expect([code, stderr]).toEqual([
      1,
      expect.stringMatching(/CONFIG_INVALID: .*:1: url: must be https/),
    ])
  })
})
