/**
 * A firewall of another program's flushes all rules, those of lockdown among them, while the unit of lockdown says that
 * they are there. A user then reads the metadata service past the agent.
 */
import { cpSync, mkdirSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { attack } from '../harness/attack.ts'
import { CLIENT, INTRUDER, onHost, ownGuarded, whileHostServed } from '../harness/own-guarded.ts'
import { packagedMetabind, runProgram } from '../harness/packaged-command.ts'

const UNIT = fileURLToPath(new URL('../../systemd/metabind-lockdown.service', import.meta.url))
const READ = `${CLIENT}\nprint(read(ROLE)[1])`

test('doctor says that something has removed them, and exits with 1', async () => {
  const guarded = await ownGuarded()
  const { networks, instance, directory } = guarded
  // Debian's own systemctl, with a folder of units in which that of lockdown is enabled.
  const units = join(directory, 'units')
  mkdirSync(join(units, 'multi-user.target.wants'), { recursive: true })
  cpSync(UNIT, join(units, 'metabind-lockdown.service'))
  symlinkSync(
    '../metabind-lockdown.service',
    join(units, 'multi-user.target.wants/metabind-lockdown.service'),
  )
  const mounted = 'mount --bind "$0" /etc/systemd/system && exec "$@"'
  const through = [...networks.hostPrefix, 'unshare', '--mount', 'sh', '-c', mounted, units]
  const configs = ['instance.toml', 'more.toml'].flatMap((name) => [
    '--config',
    join(directory, name),
  ])
  const sockets = ['--socket', instance.metadataSocket, '--admin-socket', instance.adminSocket]
  const doctor = async () => {
    const command = [packagedMetabind(), 'doctor', '--json', ...configs, ...sockets]
    const { code, stdout } = await runProgram(command, {
      through,
      env: { SYSTEMD_OFFLINE: '1', HOME: '/nonexistent' },
    })
    const ids: string[] = JSON.parse(stdout).findings.map(({ id }: { id: string }) => id)
    return { code, ids: ids.filter((id) => /^lockdown/.test(id)) }
  }
  await guarded.lockdown('on')
  expect(await attack(READ, [], onHost(guarded, INTRUDER))).toMatch(/^POLICY_DENIED/)
  expect((await doctor()).ids).toEqual([])
  // Before the others ask: a token of the agent that is shown behind this is none of the service's.
  await networks.inHost(undefined, 'nft', 'flush', 'ruleset')
  await whileHostServed(guarded, async () => {
    expect(await attack(READ, [], onHost(guarded, INTRUDER))).toMatch(/AccessKeyId/)
    expect(await doctor()).toEqual({ code: 1, ids: ['lockdown-missing'] })
  })
  await guarded.lockdown('on')
  expect(await attack(READ, [], onHost(guarded, INTRUDER))).toMatch(/^POLICY_DENIED/)
  expect((await doctor()).ids).toEqual([])
})
