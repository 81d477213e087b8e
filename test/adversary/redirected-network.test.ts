/**
 * A machine of the network beside the host, and the router ahead of it, send what they have for the metadata service to
 * the host, to be taken for a container of it whose connections lockdown redirects, or to be passed on.
 */
import { expect, test } from 'vitest'
import { attack } from '../harness/attack.ts'
import { makeCgroup } from '../harness/cgroup.ts'
import { LISTENERS } from '../harness/guarded.ts'
import { CLIENT, inPod, ownGuarded, whileHostServed } from '../harness/own-guarded.ts'

const ASK = `${CLIENT}\nprint(token()[:14], ask('GET', ID)[1][:14])`
// The router sends packets for the service down to the host, instead of answering them itself.
const AHEAD = `ip addr del 100.100.100.200/32 dev lo; ip route add 100.100.100.200 via 10.77.0.2`
const RESTORED = `ip route del 100.100.100.200; ip addr add 100.100.100.200/32 dev lo`

test('they are refused, by rules or by the agent, and nothing is passed on for them', async () => {
  const container = await makeCgroup(`docker-${'e'.repeat(64)}.scope`)
  expect(container).toBeDefined()
  const guarded = await ownGuarded({ holdsContainers: true, config: LISTENERS })
  const { inCloud, cloudPrefix } = guarded.networks
  await guarded.lockdown('on', '--containers', 'redirect')
  await whileHostServed(guarded, async () => {
    await guarded.cloud.requests()
    // The pod is in no container: to the host it is a machine that is reached by a bridge.
    const beside = await attack(ASK, [], inPod(guarded))
    expect(beside).toBe('CALLER_UNKNOWN CALLER_UNKNOWN\n')
    const inside = await attack(ASK, [], inPod(guarded, 0, container?.prefix))
    expect(inside).toMatch(/^[\w-]{14} TOKEN_MISSING/)
  })
  await inCloud('sh', '-c', AHEAD)
  const ahead = await attack(ASK.replaceAll('timeout=20', 'timeout=2'), [], {
    through: [...cloudPrefix],
  })
  await inCloud('sh', '-c', RESTORED)
  expect(ahead).toMatch(/^(Timeout|Connection|OS)\w* (Timeout|Connection|OS)\w*\n$/)
  await whileHostServed(guarded, async () => undefined)
  await container?.remove()
})
