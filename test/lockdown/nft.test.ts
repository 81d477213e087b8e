import { execFile } from 'node:child_process'
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { CLI } from '../harness/programs.ts'
import { isUnpacked, NEEDS_RELEASE, releaseRoot } from '../harness/release.ts'

/** The verbs of lockdown with other releases of nft, each in a network and a mount namespace of its own. */

const run = promisify(execFile)
const NFT = '/usr/sbin/nft'
const isRoot = process.getuid?.() === 0

// nft 0.9.8 opens /dev/stdin for `-f -`, which fails for the socket that Node makes of a child's input.
const OPENS_STDIN = `#!/bin/sh
for word; do [ "$word" != - ] || exec </dev/stdin || exit 1; done
exec ./nft "$@"
`
const OF_BULLSEYE = `#!/bin/sh
exec chroot ${releaseRoot('bullseye')} ${NFT} "$@"
`

describe.each([
  ['that opens its standard input anew, as 0.9.8', OPENS_STDIN, isRoot, 'needs root'],
  ['0.9.8 of Debian 11', OF_BULLSEYE, isUnpacked('bullseye'), NEEDS_RELEASE],
])('lockdown with an nft %s', (_, nft, canRun, needs) => {
  describe.skipIf(!canRun)(`as root [${needs}]`, () => {
    let directory: string

    beforeAll(async () => {
      directory = await mkdtemp('/tmp/nft-')
      await run('cp', [NFT, directory])
      await writeFile(join(directory, 'metabind.toml'), '[transparent]\nenabled = true\n')
      await writeFile(join(directory, 'wrapped'), nft.replace('./nft', join(directory, 'nft')))
      await chmod(join(directory, 'wrapped'), 0o755)
    })
    afterAll(() => rm(directory, { recursive: true, force: true }))

    /** Several commands, one after the other, in one network: nothing of it is left. */
    async function inNetwork(script: string): Promise<string> {
      const prepared = `mount --bind ${directory}/wrapped ${NFT}
ip link set lo up
on() { metabind on --before-agent --user 61001 --config ${directory}/metabind.toml "$@"; }
metabind() { ${process.execPath} ${CLI} lockdown "$@" 2>${directory}/told || { cat ${directory}/told; exit 1; }; }
${script}`
      const enter = ['--net', '--mount', '--propagation', 'private', 'sh', '-ec', prepared]
      return (await run('unshare', enter, { timeout: 240_000 })).stdout
    }

    test('is turned on, confirmed and turned off', async () => {
      const said = await inNetwork(
        'on --for 10m; metabind status; metabind confirm; metabind status; metabind off',
      )
      expect(said).toMatch(/rolls back in 600 s.*mode +enforce.*ends +in \d+ s.*ends +never/s)
    })

    test('observes', async () => {
      expect(await inNetwork('on --observe; metabind status')).toMatch(/mode +observe/)
    })

    test('redirects containers, and is replaced in one step', async () => {
      const said = await inNetwork(
        'on --containers redirect; on --observe --containers redirect; metabind status --json',
      )
      expect(JSON.parse(said)).toMatchObject({ state: 'observe', takesContainers: true })
    })
  })
})
