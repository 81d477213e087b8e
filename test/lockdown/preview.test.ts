import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { copyFile, writeFile } from 'node:fs/promises'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { makeCgroup } from '../harness/cgroup.ts'
import { AGENT, APP, type Guarded, OTHER, SERVICE, startGuarded } from '../harness/guarded.ts'
import { asUser } from '../harness/networks.ts'

const isRoot = process.getuid?.() === 0
const HOLD = `import socket,time
s = socket.create_connection(('100.100.100.200', 80)); print('open', flush=True); time.sleep(60)`
const CREDENTIALS_RULE = `[[rule]]
name = "the application reads its credentials"
effect = "allow"
users = [${APP}]
paths = ["/*/meta-data/ram/security-credentials/app-role"]
`
const NO_RULE =
  'refused: no rule speaks of it, and it is secret: for root outside of containers only'

// Each preview looks for five seconds, and some tests have three.
const LONG_MS = 600_000

describe.skipIf(!isRoot)('metabind lockdown on --preview', { timeout: LONG_MS }, () => {
  let guarded: Guarded
  let held: ChildProcess[] = []

  beforeAll(async () => {
    guarded = await startGuarded({ tokens: 'optional' })
    await withPolicy(CREDENTIALS_RULE)
  })
  afterAll(() => guarded?.stop())
  afterEach(() => {
    for (const child of held) child.kill('SIGKILL')
    held = []
  })

  async function withPolicy(text: string): Promise<void> {
    await writeFile(`${guarded.directory}/policy.toml`, text)
    await guarded.instance.restartAgent()
  }

  /** A process that has a connection to the service. */
  async function hold(...prefix: string[]): Promise<number | undefined> {
    const [file = '', ...args] = [...prefix, '/usr/bin/python3', '-c', HOLD]
    const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'inherit'] })
    held.push(child)
    await once(child.stdout, 'data')
    return child.pid
  }
  const holdAs = (uid: number) => hold(...guarded.networks.hostPrefix, ...asUser(uid))

  async function preview(...flags: string[]) {
    const said = JSON.parse(await guarded.lockdown('on', '--preview', '--json', ...flags))
    const verdictOf = (pid: number | undefined) =>
      said.now.find((row: { pid: number }) => row.pid === pid)?.verdict
    return { ...said, verdictOf }
  }

  test('shows the name of a file for what it is', async () => {
    const file = `${guarded.directory}/a\x1b[2J\nroot  1  -  -  answered\u202e`
    await copyFile('/usr/bin/python3', file)
    const [command = '', ...args] = [
      ...guarded.networks.hostPrefix,
      ...asUser(APP),
      file,
      '-c',
      HOLD,
    ]
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] })
    held.push(child)
    await once(child.stdout, 'data')
    const shown = await guarded.lockdown('on', '--preview')
    expect(shown).toContain('/a\\u{1b}[2J\\u{a}root  1  -  -  answered\\u{202e}')
    // Others are in the table as well, such as a container of root's that a test beside this one holds.
    for (const live of ['\x1b', '\u202e', '\nroot  1  -']) expect(shown).not.toContain(live)
  })

  test('says of each what the policy in force lets it read', async () => {
    const [app, other, agent] = [await holdAs(APP), await holdAs(OTHER), await holdAs(AGENT)]
    const pod = await hold(...guarded.networks.podPrefix)
    const { verdictOf, agentAnswers } = await preview()
    expect(agentAnswers).toBe(true)
    expect(verdictOf(app)).toEqual({
      outcome: 'answered',
      permissions: { metadata: 'allowed', credentials: 'allowed' },
      says: 'metadata allowed; credentials allowed',
    })
    expect(verdictOf(other)).toMatchObject({
      outcome: 'answered',
      permissions: { metadata: 'allowed', credentials: NO_RULE },
    })
    expect(verdictOf(agent)).toMatchObject({ outcome: 'passes' })
    expect(verdictOf(pod)).toMatchObject({
      outcome: 'refused',
      says: 'refused: in a network of its own; mount the socket into it',
    })
    expect((await preview('--containers', 'leave')).verdictOf(pod).outcome).toBe('left-alone')
    const words = await guarded.lockdown('on', '--preview')
    expect(words).toMatch(/^USER +PID +UNIT +EXECUTABLE +VERDICT\n/)
    expect(words).toContain(`metadata allowed; credentials ${NO_RULE}`)
    await expect(guarded.lockdown('status')).rejects.toMatchObject({ stdout: 'off\n' })
  })

  test('a container in the network of the host is judged as one, its root too', async (context) => {
    const cgroup = await makeCgroup(`docker-${randomBytes(32).toString('hex')}.scope`)
    if (cgroup === undefined) return context.skip('no cgroup can be made here')
    try {
      const pid = await hold(...guarded.networks.hostPrefix, ...cgroup.prefix)
      expect((await preview()).verdictOf(pid).permissions).toMatchObject({ credentials: NO_RULE })
    } finally {
      for (const child of held) child.kill('SIGKILL')
      await cgroup.remove()
    }
  })

  test('those who were observed get one for their last path and for their lack of tokens', async () => {
    await guarded.lockdown('on', '--observe')
    await guarded.curl(OTHER, `${SERVICE}/latest/meta-data/ram/security-credentials/app-role`)
    await guarded.lockdown('off')
    const { before } = await preview()
    expect(before).toMatchObject([
      {
        uid: OTHER,
        isPlaced: true,
        verdict: {
          outcome: 'refused',
          permissions: { lastPath: NO_RULE, token: 'refused: sends no token' },
        },
      },
    ])
    expect(await guarded.lockdown('on', '--preview')).toContain('Observed before:')
  })

  test('where the policy only records, it is allowed, but recorded', async () => {
    await withPolicy(`mode = "audit"\n${CREDENTIALS_RULE}`)
    const other = await holdAs(OTHER)
    const { permissions } = (await preview()).verdictOf(other)
    expect(permissions).toEqual({
      metadata: 'allowed',
      credentials: `allowed, but recorded${NO_RULE.slice('refused'.length)}`,
    })
  })

  test('without an agent it lists the same, and says that its policy is not known', async () => {
    await guarded.instance.agent.stop()
    const app = await holdAs(APP)
    const { verdictOf, agentAnswers } = await preview()
    expect(agentAnswers).toBe(false)
    expect(verdictOf(app).says).toBe('unknown: the agent does not answer')
    expect(await guarded.lockdown('on', '--preview')).toContain('The agent does not answer')
    await guarded.instance.restartAgent()
  })
})
