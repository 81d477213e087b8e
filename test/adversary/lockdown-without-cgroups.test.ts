/**
 * On a host where control groups are hidden from everybody, so that nobody can be told from a container's root, an
 * administrator turns lockdown on. A user waits for the moment when everybody is cut off, or taken for root.
 */
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { attack } from '../harness/attack.ts'
import { AGENT } from '../harness/guarded.ts'
import { CLIENT, INTRUDER, onHost, ownGuarded, whileHostServed } from '../harness/own-guarded.ts'
import { packagedMetabind, runProgram } from '../harness/packaged-command.ts'

const READ = `${CLIENT}\nprint(ask('GET', '/metabind/v1/whoami', {'x-aliyun-ecs-metadata-token': token()})[0])`

test('it is refused before anything is changed, and everybody is served as before', async () => {
  const guarded = await ownGuarded()
  const { networks, directory, instance } = guarded
  const hidden = [
    'unshare',
    '--mount',
    '--propagation',
    'private',
    'sh',
    '-c',
    'mount -t tmpfs none /sys/fs/cgroup && exec "$@"',
    'sh',
  ]
  const configs = ['instance.toml', 'more.toml'].flatMap((name) => [
    '--config',
    join(directory, name),
  ])
  const sockets = ['--socket', instance.metadataSocket, '--admin-socket', instance.adminSocket]
  const lockdown = (...args: string[]) =>
    runProgram(
      [
        packagedMetabind(),
        'lockdown',
        'on',
        ...configs,
        ...sockets,
        '--user',
        String(AGENT),
        ...args,
      ],
      {
        through: [...networks.hostPrefix, ...hidden],
      },
    )
  await whileHostServed(guarded, async () => {
    for (const args of [
      [],
      ['--before-agent'],
      ['--for', '1m'],
      ['--containers', 'redirect', '--before-agent'],
    ]) {
      const { code, stderr } = await lockdown(...args)
      expect([args, code, stderr]).toEqual([
        args,
        1,
        expect.stringMatching(/^metabind: LOCKDOWN_NOBODY_NAMED: /),
      ])
    }
    // The service itself answers, which knows of no such path.
    expect(await attack(READ, [], onHost(guarded, INTRUDER))).toBe('404\n')
  })
  expect(await networks.inHost(undefined, 'nft', 'list', 'ruleset')).toBe('')
})
