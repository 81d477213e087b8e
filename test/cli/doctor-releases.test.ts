import { execFile } from 'node:child_process'
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { checkKernel } from '../../src/cli/doctor-releases.ts'
import { CGROUP_2_KEYS, NEWER_KEYS } from '../../src/cli/unit-keys.ts'
import { CLI } from '../harness/programs.ts'

const run = promisify(execFile)
const isRoot = process.getuid?.() === 0

test.each([
  ['6.12.38+deb13-amd64', []],
  ['5.10.134-16.3.al8.x86_64', ['SO_PEERPIDFD']],
  ['4.18.0-553.el8_10.x86_64', ['pidfd_open', 'INET_DIAG_CGROUP_ID', 'SO_PEERPIDFD']],
])('metabind doctor says what Linux %s lacks', (kernel, lacks) => {
  const found = checkKernel(kernel)
  expect(found).toHaveLength(lacks.length)
  for (const [at, name] of lacks.entries()) {
    expect(found[at]).toMatchObject({ id: 'kernel-older', weight: 'hint' })
    expect(found[at]?.says).toContain(name)
  }
})

describe.skipIf(!isRoot)(
  'metabind doctor on a machine that systemd has booted [needs root]',
  () => {
    let directory: string

    beforeAll(async () => {
      directory = await mkdtemp('/tmp/doctor-releases-')
    })
    afterAll(() => rm(directory, { recursive: true, force: true }))

    /** What it says of systemd and of cgroups, in a mount namespace of its own. */
    async function saidOf(systemd: string, cgroups: string): Promise<string[]> {
      await writeFile(join(directory, 'systemctl'), `#!/bin/sh\necho '${systemd}'\n`)
      await chmod(join(directory, 'systemctl'), 0o755)
      const script = `mount -t tmpfs none /run; mkdir -p /run/systemd/system
mount -t tmpfs none /sys/fs/cgroup
${cgroups}
PATH=${directory}:$PATH ${process.execPath} ${CLI} doctor --json || true`
      const enter = ['--mount', '--propagation', 'private', 'sh', '-ec', script]
      const { findings } = JSON.parse((await run('unshare', enter, { timeout: 240_000 })).stdout)
      return findings
        .filter(({ id }: { id: string }) => id === 'systemd-older' || id === 'cgroups-older')
        .map(({ says }: { says: string }) => says)
    }
    const keysIn = (said: readonly string[]) =>
      said.map((one) => / (\w+)= /.exec(one)?.[1] ?? '').sort()

    test('names every key that is not in force with the oldest, and with cgroups of version 1', async () => {
      const said = await saidOf('systemd 239 (239-82.el8)', '')
      expect(keysIn(said)).toEqual(
        [...Object.keys(NEWER_KEYS), ...Object.keys(CGROUP_2_KEYS)].sort(),
      )
    })

    test('names those of Debian 11', async () => {
      const said = await saidOf('systemd 247 (247.3-7+deb11u7)', '')
      expect(said).toContain(
        'systemd 247 does not know NoExecPaths= of 248: the agent may execute every program of the system.',
      )
      expect(keysIn(said)).toEqual(
        [
          'ExecPaths',
          'NoExecPaths',
          'OpenFile',
          'PrivateIPC',
          ...Object.keys(CGROUP_2_KEYS),
        ].sort(),
      )
    })

    test('says nothing of systemd where it knows all of them', async () => {
      const unified = 'mount -t cgroup2 none /sys/fs/cgroup'
      const said = await saidOf('systemd 257 (257.9-1~deb13u1)', unified)
      expect(said.filter((one) => one.startsWith('systemd'))).toEqual([])
      expect(keysIn(said)).not.toContain('IPAddressDeny')
    })
  },
)
