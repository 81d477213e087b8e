/**
 * Root of a container that its runtime has put into a cgroup of version 1 alone is, by version 2, still in the cgroup of
 * the service that started it, a unit of the host. Over TCP it asks for what is for root of the host and for that unit.
 */
import { expect, onTestFinished, test } from 'vitest'
import { attack } from '../harness/attack.ts'
import { CLIENT, onHost, ownGuarded, whileHostServed } from '../harness/own-guarded.ts'
import { makeCgroups, systemdHierarchies } from '../harness/peer.ts'

const UNIT = `runtime-${process.pid}.service`
const READ = `${CLIENT}\nprint(token()[:14], read(ROLE)[1][:14])`
const RULES = `[[rule]]
name = "what the runtime does"
effect = "allow"
units = ["${UNIT}"]
paths = ["/latest/meta-data/ram/security-credentials/*"]
`

test('it is nobody, and so is the service itself while it is there', async (context) => {
  const [version1, version2] = [systemdHierarchies().slice(0, -1)[0], systemdHierarchies().at(-1)]
  if (version1 === undefined) return context.skip('this machine has not both versions of cgroups')
  const cgroups = makeCgroups()
  onTestFinished(() => cgroups.remove())
  const unit = cgroups.make(`system.slice/${UNIT}`, version2)
  const container = cgroups.make(`system.slice/docker-${'d'.repeat(64)}.scope`, version1)
  const guarded = await ownGuarded({ rules: RULES })
  await guarded.lockdown('on')
  const readFrom = (...places: string[]) =>
    attack(READ, [], { ...onHost(guarded), cgroups: places })
  await whileHostServed(guarded, async () => {
    expect(await readFrom(unit)).toMatch(/^[\w-]{14} \{/)
    expect(await readFrom(unit, container)).toBe('CALLER_UNKNOWN CALLER_UNKNOWN\n')
    expect(await readFrom(unit)).toMatch(/^CALLER_UNKNOWN|^[\w-]{14} \{/)
  })
})
