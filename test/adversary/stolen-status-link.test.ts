/**
 * A user looks for the link of root's status page among the arguments and environments of all processes. Another one
 * has it, read over root's shoulder: and opens it before root, after root, or when nobody has opened it in time.
 */
import { expect, inject, test } from 'vitest'
import { attack, whileServed } from '../harness/attack.ts'
import { ownStatusPage } from '../harness/status-page.ts'
import { openLink } from '../harness/ui.ts'

const LOOK = `import glob,sys
found = []
for file in glob.glob('/proc/[0-9]*/cmdline') + glob.glob('/proc/[0-9]*/environ'):
  try: found.append(open(file, 'rb').read())
  except OSError: pass
print(len(found) > 0, b'metabind' in b''.join(found), flush=True)
sys.stdout.buffer.write(b''.join(found))`
const OPEN = `import http.client,json,sys
port = int(sys.argv[1])
there = http.client.HTTPConnection('127.0.0.1', port, timeout=30)
own = {'origin': f'http://127.0.0.1:{port}', 'content-type': 'application/json', 'sec-fetch-site': 'same-origin'}
try:
  there.request('POST', '/ui/session', json.dumps({'token': sys.argv[2]}), own)
  answer = there.getresponse()
  print(answer.status, answer.read().decode().split(':')[0])
except (OSError, http.client.HTTPException) as error: print(type(error).__name__)`
const TWICE = {
  code: 1,
  stderr: expect.stringMatching(/^metabind: UI_LINK: .*opened twice, by two/),
}

test('it stands in no process, and whoever is second ends it for both', async () => {
  const target = inject('target')
  await whileServed(target.metadataSocket, async () => {
    const before = await ownStatusPage(target)
    const seen = await attack(LOOK, [])
    expect(seen).toMatch(/^True True/)
    expect(seen).not.toContain(before.token)
    expect(await attack(OPEN, [String(before.port), before.token])).toMatch(/^200 /)
    await expect(openLink(before)).rejects.toThrow(/^403 UI_LINK/)
    expect(await before.ended).toEqual(TWICE)

    const after = await ownStatusPage(target)
    await openLink(after)
    expect(await attack(OPEN, [String(after.port), after.token])).toBe('403 UI_LINK\n')
    expect(await after.ended).toEqual(TWICE)

    const late = await ownStatusPage(target, ['--expires', '1s'])
    expect(await late.ended).toMatchObject({ code: 1 })
    expect(await attack(OPEN, [String(late.port), late.token])).toBe('ConnectionRefusedError\n')
  })
})
