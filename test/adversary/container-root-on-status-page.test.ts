/**
 * Root of a container, into which the socket is mounted, reads what everybody may, where nobody looks at where it stands,
 * and then a secret; and hopes that the status page shows it as root of the host.
 */
import { randomBytes } from 'node:crypto'
import { expect, onTestFinished, test } from 'vitest'
import { ownAgent, whileServed } from '../harness/attack.ts'
import { ask } from '../harness/metabind.ts'
import { makeCgroups } from '../harness/peer.ts'
import { ownBrowser, ownStatusPage } from '../harness/status-page.ts'
import { readAs, tokenAs } from '../harness/unix-http.ts'

interface Row {
  readonly uid: number
  readonly kind: string
  readonly isPlaced: boolean
  readonly container?: string
  readonly user?: string
}

test('its rows stand apart, and say that nobody knows or which container it is', async (context) => {
  const cgroups = makeCgroups()
  onTestFinished(() => cgroups.remove())
  const container = randomBytes(32).toString('hex')
  const within = [cgroups.make(`system.slice/docker-${container}.scope`)]
  const through = ['unshare', '--mount', '--pid', '--fork', '--uts', '--ipc']
  const { instance } = await ownAgent(context)
  const { metadataSocket } = instance
  await whileServed(metadataSocket, async () => {
    const open = '/latest/meta-data/mac'
    const { body: token } = await tokenAs({ through, cgroups: within }, metadataSocket)
    const contained = { through, cgroups: within }
    expect((await readAs(contained, metadataSocket, open, token)).status).toBe(200)
    expect(
      (await readAs({ through, cgroups: within }, metadataSocket, '/latest/user-data')).status,
    ).toBe(403)
    // In namespaces of its own that are no container's.
    expect((await readAs({ through }, metadataSocket, '/latest/user-data')).status).toBe(403)
  })
  const { readers } = JSON.parse(
    (await ask(instance.adminSocket, 'GET', '/metabind/v1/snapshot')).body,
  )
  const rows: Row[] = readers.filter(({ uid }: Row) => uid === 0)
  expect(rows.filter(({ kind }) => kind === 'metadata').map(({ isPlaced }) => isPlaced)).toEqual([
    false,
  ])
  const secret = rows.filter(({ kind }) => kind === 'user-data')
  expect(secret.map((row) => row.container).sort()).toEqual([container, 'none'].sort())
  expect(secret.map(({ user }) => user)).toEqual([undefined, undefined])
  const ui = await ownStatusPage(instance)
  const tab = await (await ownBrowser()).open()
  await tab.goto(ui.url)
  await tab.until(`document.querySelector('.link.live')`)
  await tab.until(`document.body.innerText.includes('${container.slice(0, 12)}')`)
  const names: string[] = await tab.value(
    `[...document.querySelectorAll('tbody th')].map((one) => one.innerText)`,
  )
  expect(
    names.filter((name) => /^root\b/.test(name) && !/not known|not looked/.test(name)),
  ).toEqual([])
})
