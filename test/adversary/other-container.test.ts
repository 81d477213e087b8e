/**
 * Root of a container whose connections are redirected reads what is for root of the host and what is for another
 * container: by a token that it got from there, by a cgroup that it names like that container, and from a second container
 * in its own network.
 */
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { accomplice, attack } from '../harness/attack.ts'
import { makeCgroup } from '../harness/cgroup.ts'
import { LISTENERS } from '../harness/guarded.ts'
import { CLIENT, inPod, onHost, ownGuarded, whileHostServed } from '../harness/own-guarded.ts'

const id = (prefix: string) => `${prefix}${randomBytes(32).toString('hex').slice(prefix.length)}`
const READ = `${CLIENT}
own = token()
given = sys.argv[1] if len(sys.argv) > 1 else own
print(ask('GET', ROLE, {'x-aliyun-ecs-metadata-token': given})[1].replace('\\n', '')[:60], flush=True)
sys.stdin.read()`
const TOKEN = `${CLIENT}\nprint(token())`
const RULES = `[[rule]]
name = "one container reads credentials"
effect = "allow"
containers = ["a11*"]
paths = ["/latest/meta-data/ram/security-credentials/*"]
`

test('it is itself, by user and container, and nobody where two share a network', async () => {
  const [attacker, allowed] = [
    await makeCgroup(`docker-${id('c')}.scope`),
    await makeCgroup(`docker-${id('a11')}.scope`),
  ]
  const guarded = await ownGuarded({ holdsContainers: true, config: LISTENERS, rules: RULES })
  await guarded.lockdown('on', '--containers', 'redirect')
  const inContainer = inPod(guarded, 0, attacker?.prefix)
  await whileHostServed(guarded, async () => {
    expect(await attack(READ, [], inPod(guarded, 0, allowed?.prefix))).toContain('AccessKeyId')
    expect(await attack(READ, [], inContainer)).toMatch(/^POLICY_DENIED/)
    const ofRoot = (await attack(TOKEN, [], onHost(guarded))).trim()
    expect(ofRoot).toMatch(/^[\w-]{86}$/)
    // Both are uid 0: the token may be used, and what is read goes by who reads.
    expect(await attack(READ, [ofRoot], inContainer)).toMatch(/^(POLICY_DENIED|TOKEN_)/)
    const second = accomplice(READ, [], inPod(guarded, 0, allowed?.prefix))
    expect(await second.said()).toContain('AccessKeyId')
    // Who is in a network is looked at again after a second: until then the first one is who was seen there.
    await sleep(1500)
    expect(await attack(READ, [], inContainer)).toMatch(/^POLICY_DENIED/)
    await second.end()
  })
  await attacker?.remove()
  await allowed?.remove()
})
