/**
 * An SDK of an application's, which has a process_command in its configuration, writes the credentials that were printed
 * into that file, as it does wherever it can. A backup, or another user's eyes, then find them.
 */
import { chmodSync, chownSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, inject, test } from 'vitest'
import { APP, attack, whileServed } from '../harness/attack.ts'
import { placeOf } from '../harness/attacker-place.ts'
import { packagedMetabind, runMetabind, runProgram } from '../harness/packaged-command.ts'

const SDK = `import json,os,subprocess,sys
file, command, socket = sys.argv[1:]
made = {'profiles': [{'name': 'default', 'mode': 'External', 'process_command': command}]}
if not os.path.exists(file): json.dump(made, open(file, 'w'))
config = json.load(open(file))
said = subprocess.run([command, 'credential'], env={'METABIND_SOCKET': socket}, stdout=subprocess.PIPE).stdout
config['profiles'][0].update({**json.loads(said), 'mode': 'External'})
try: json.dump(config, open(file, 'w')); print('written')
except OSError as error: print(type(error).__name__)`

test('doctor finds where it can and where it has, and after its remedy it cannot', async () => {
  const target = inject('target')
  const home = await placeOf(APP, 0o755)
  const file = join(home, '.aliyun/config.json')
  mkdirSync(join(home, '.aliyun'))
  chownSync(join(home, '.aliyun'), APP, APP)
  chmodSync(home, 0o755)
  const sdk = () => attack(SDK, [file, packagedMetabind(), target.metadataSocket], { uid: APP })
  const found = async (): Promise<{ id: string; remedy: string }[]> => {
    const { code, stdout } = await runMetabind(target, ['doctor', '--json'], {
      env: { HOME: home },
    })
    const findings = JSON.parse(stdout).findings.filter(({ id }: { id: string }) =>
      id.startsWith('sdk-'),
    )
    expect(code).toBe(findings.length > 0 ? 1 : 0)
    expect(stdout).not.toMatch(/STS\./)
    return findings
  }
  await whileServed(target.metadataSocket, async () => {
    expect(await found()).toEqual([])
    expect(await sdk()).toBe('written\n')
    const findings = await found()
    expect(findings.map(({ id }) => id)).toEqual([
      'sdk-secret-on-disk',
      'sdk-configuration-writable',
    ])
    // runuser wants the name of an account.
    const remedy = findings[1]?.remedy.replace(
      /runuser -u "[^"]*" --/,
      `setpriv --reuid=${APP} --clear-groups`,
    )
    expect(await runProgram(['sh', '-c', remedy ?? 'false'], {})).toMatchObject({ code: 0 })
    expect(await sdk()).toBe('PermissionError\n')
    expect((await found()).map(({ id }) => id)).toEqual(['sdk-secret-on-disk'])
  })
})
