/**
 * While root turns lockdown on and off the command is killed at any moment, again and again; then every process of
 * metabind is killed before a trial of lockdown was confirmed. A user without rights tries to take it off.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, inject, test } from 'vitest'
import { AGENT, APP, SERVICE } from '../harness/guarded.ts'
import { INTRUDER, ownGuarded } from '../harness/own-guarded.ts'

const ID = `${SERVICE}/latest/meta-data/instance-id`

test('it is there as a whole, or not at all, and ends by itself', async () => {
  const guarded = await ownGuarded({ tokens: 'optional' })
  const { networks, directory, instance } = guarded
  const rules = async () =>
    (await networks.inHost(undefined, 'nft', '-s', '-n', 'list', 'ruleset')).replace(
      /(timeout|expires|comment) \S+/g,
      '$1',
    )
  // Whoever is redirected needs a token, and whoever is not does not.
  const readsAs = async (uid: number) =>
    (await guarded.curl(uid, ID)).startsWith('TOKEN_MISSING') ? 'on' : 'off'
  const beganMs = performance.now()
  await guarded.lockdown('on')
  const tookMs = performance.now() - beganMs
  const whole = await rules()
  await guarded.lockdown('off')
  expect(await rules()).toBe('')
  const configs = ['instance.toml', 'more.toml'].flatMap((name) => [
    '--config',
    `${directory}/${name}`,
  ])
  const on = [
    'on',
    ...configs,
    '--user',
    String(AGENT),
    '--socket',
    instance.metadataSocket,
    '--admin-socket',
    instance.adminSocket,
  ]
  for (let at = 0; at < 16; at += 1) {
    const [file = '', ...args] = [
      ...networks.hostPrefix,
      `${inject('library')}/metabind`,
      'lockdown',
      ...(at % 4 === 3 ? ['off'] : on),
    ]
    const child = spawn(file, args, { stdio: 'ignore', detached: true })
    const ended = once(child, 'exit')
    // The first at once: however long the command takes, it is killed before it is done.
    if (at > 0) await sleep((tookMs * at) / 15)
    try {
      process.kill(-(child.pid ?? 0), 'SIGKILL')
    } catch {
      // It was done already.
    }
    await ended
    const left = await rules()
    expect(['', whole]).toContain(left)
    if (at === 0) expect(left).toBe('')
    expect(await readsAs(APP)).toBe(left === '' ? 'off' : 'on')
  }
  await guarded.lockdown('on')
  for (const args of [
    ['lockdown', 'off'],
    ['lockdown', 'confirm'],
  ]) {
    await expect(guarded.metabind(args, INTRUDER)).rejects.toThrow(/FIREWALL_FAILED/)
  }
  expect(await readsAs(INTRUDER)).toBe('on')
  await guarded.lockdown('on', '--for', '3s')
  await instance.agent.stop('SIGKILL')
  const seen = () => readsAs(APP).catch(() => 'nobody answers')
  await expect.poll(seen).toBe('off')
})
