import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { CLI } from '../harness/programs.ts'

/** Lockdown where control groups of version 2 are not mounted, as where version 1 is all that there is. */

const run = promisify(execFile)
const isRoot = process.getuid?.() === 0

describe.skipIf(!isRoot)('lockdown without control groups of version 2 [needs root]', () => {
  let directory: string
  let config: string

  beforeAll(async () => {
    directory = await mkdtemp('/tmp/no-cgroups-')
    config = join(directory, 'metabind.toml')
    await writeFile(config, '[transparent]\nenabled = true\n')
  })
  afterAll(() => rm(directory, { recursive: true, force: true }))

  /** In a network and a mount namespace of its own. */
  async function inNetwork(script: string): Promise<string> {
    const prepared = `mount -t tmpfs none /sys/fs/cgroup
ip link set lo up
metabind() { ${process.execPath} ${CLI} "$@" --socket ${directory}/s --admin-socket ${directory}/a; }
on() { metabind lockdown on --before-agent --user 61001 --config ${config} "$@"; }
${script}`
    const enter = ['--net', '--mount', '--propagation', 'private', 'sh', '-ec', prepared]
    return (await run('unshare', enter, { timeout: 240_000 })).stdout
  }

  test('is refused before anything is changed, with the reason', async () => {
    const script = `! on --containers redirect 2>&1
nft list ruleset; ip rule show | grep -v 'lookup \\(local\\|main\\|default\\)' || true`
    const said = await inNetwork(script)
    expect(said).toMatch(/^metabind: LOCKDOWN_NOBODY_NAMED: .*version 2 are not mounted.*\n$/)
  })

  test('can observe, as nobody is refused then', async () => {
    const said = await inNetwork('on --observe; metabind lockdown status --json')
    expect(JSON.parse(said)).toMatchObject({ state: 'observe' })
  })

  test('says so in its preview', async () => {
    expect(await inNetwork('on --preview')).toContain('It cannot be turned on here: Control groups')
    const { refusesAll } = JSON.parse(await inNetwork('on --preview --json'))
    expect(refusesAll).toMatch(/^Control groups of version 2 /)
  })

  test('is broken for metabind doctor', async () => {
    const said = await inNetwork(`metabind doctor --json --config ${config} || true`)
    const { findings } = JSON.parse(said)
    expect(findings).toContainEqual(
      expect.objectContaining({ id: 'lockdown-nobody-named', weight: 'broken' }),
    )
    expect(said).not.toContain('"lockdown-off"')
  })
})
