/**
 * A user leaves a pipe, an endless device, a huge file and links to root's secrets where root's `metabind doctor` looks
 * into every home; and when root follows its remedy, has a link to root's own file in the place of the user's.
 */
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { expect, inject, test } from 'vitest'
import { ATTACKER, attack, whileServed } from '../harness/attack.ts'
import { placeOf } from '../harness/attacker-place.ts'
import { runMetabind, runProgram } from '../harness/packaged-command.ts'

const PLANT = `import os,sys
how, file, secret = sys.argv[1:]
if os.path.lexists(file): os.unlink(file)
if how == 'pipe': os.mkfifo(file)
if how == 'device': os.symlink('/dev/zero', file)
if how == 'link': os.symlink(secret, file)
if how == 'huge': os.truncate(os.open(file, os.O_CREAT | os.O_WRONLY), 1 << 40)
if how == 'profile': open(file, 'w').write('{"profiles":[{"mode":"External","process_command":"metabind credential"}]}')
print('planted')`

test("root reads none of it, and changes nothing but what is the user's", async () => {
  const target = inject('target')
  const home = await placeOf()
  const own = await placeOf(0, 0o700)
  const [secret, passwd] = [join(own, 'secret'), join(own, 'passwd')]
  writeFileSync(
    secret,
    '{"profiles":[{"mode":"External","process_command":"x","sts_token":"root-only"}]}',
    { mode: 0o600 },
  )
  // The user's home is one of those that root looks into.
  copyFileSync('/etc/passwd', passwd)
  chmodSync(passwd, 0o644)
  writeFileSync(passwd, `mallory:x:${ATTACKER}:${ATTACKER}::${home}:/bin/sh\n`, { flag: 'a' })
  const through = [
    'unshare',
    '--mount',
    'sh',
    '-c',
    'mount --bind "$0" /etc/passwd && exec "$@"',
    passwd,
  ]
  mkdirSync(join(home, '.aliyun'))
  chownSync(join(home, '.aliyun'), ATTACKER, ATTACKER)
  const file = join(home, '.aliyun/config.json')
  const doctor = () => runMetabind(target, ['doctor', '--json'], { through })
  await whileServed(target.metadataSocket, async () => {
    for (const how of ['pipe', 'device', 'link', 'huge']) {
      expect(await attack(PLANT, [how, file, secret])).toBe('planted\n')
      const { code, stdout } = await doctor()
      expect([how, code === 0 || code === 1, stdout.includes(file)]).toEqual([how, true, false])
      expect(stdout).not.toContain('root-only')
    }
    await attack(PLANT, ['profile', file, secret])
    const { findings } = JSON.parse((await doctor()).stdout)
    const { remedy } = findings.find(
      ({ id }: { id: string }) => id === 'sdk-configuration-writable',
    )
    // Root reads it, and types it; meanwhile it has become a link.
    await attack(PLANT, ['link', file, secret])
    expect(remedy).toContain(file)
    await runProgram(['sh', '-c', remedy], { through })
    expect(statSync(secret)).toMatchObject({ uid: 0, mode: 0o100600 })
  })
  expect(readFileSync(secret, 'utf8')).toContain('root-only')
  expect(existsSync(join(own, 'passwd'))).toBe(true)
})
