/**
 * Somebody gets an image of the agent's memory, pages that were freed with it, and looks for the salt and for what the TPM
 * answered, from which tokens can be made.
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { APP, attack, ownAgent, whileServed } from '../harness/attack.ts'
import { forgeToken } from '../harness/forged-token.ts'

// As root: what it reads is what a memory image of the machine has. Pages that are not there are left alone: to read them
// would make them, in the agent's own memory, until it has no more.
const SEARCH = `import array,resource,sys
pid, needles = sys.argv[1], [bytes.fromhex(one) for one in sys.argv[2:]]
counts = [0] * len(needles)
memory, pagemap = open('/proc/%s/mem' % pid, 'rb'), open('/proc/%s/pagemap' % pid, 'rb')
page, THERE = resource.getpagesize(), 1 << 63
def runs(start, end):
  pagemap.seek(start // page * 8)
  entries = array.array('Q', pagemap.read((end - start) // page * 8))
  first = None
  for at, entry in enumerate([*entries, 0]):
    if entry & THERE and first is None: first = at
    if not entry & THERE and first is not None:
      yield start + first * page, start + at * page
      first = None
for line in open('/proc/%s/maps' % pid):
  start, end = (int(one, 16) for one in line.split()[0].split('-'))
  if line.split()[1][0] != 'r': continue
  try:
    for begin, stop in runs(start, end):
      memory.seek(begin)
      image = memory.read(stop - begin)
      for at, needle in enumerate(needles): counts[at] += image.count(needle)
  except (OSError, ValueError, OverflowError): continue
print(*counts)`

test('the salt is there once, and nothing of what the TPM answered', async (context) => {
  const { instance } = await ownAgent(context)
  const { metadataSocket, runtimeDirectory, agent, cloud, tpm } = instance
  const salt = await readFile(join(runtimeDirectory, 'salt'))
  const { roots } = await forgeToken(tpm.tcti, cloud?.instanceId ?? '', salt, APP)
  // That of this something is found shows that the image was searched.
  const known = Buffer.from(cloud?.instanceId ?? '')
  const needles = [known, salt, ...roots].map((one) => one.toString('hex'))
  const said = await whileServed(metadataSocket, () =>
    attack(SEARCH, [String(agent.child.pid), ...needles], {}),
  )
  const [found, salts, ...others] = said.split(' ').map(Number)
  expect(found).toBeGreaterThan(0)
  expect(salts).toBeLessThanOrEqual(1)
  expect(others).toEqual(roots.map(() => 0))
})
