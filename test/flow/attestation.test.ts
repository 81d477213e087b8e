import { randomBytes } from 'node:crypto'
import { cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { startSwtpm } from '../../native/tpm2-js/test/swtpm.ts'
import { tpm2 } from '../../native/tpm2-js/test/tools.ts'
import { spkiDigest } from '../../src/format/tpm-key.ts'
import { parsePublic } from '../../src/format/tpm-public.ts'
import { type VerifyOptions, verifyEvidence } from '../../src/verify/index.ts'
import { type AgentProcess, type LogRecord, startAgentProcess } from '../harness/agent.ts'
import { makeAuthority, makeEkCertificate } from '../harness/certificate.ts'
import { type Instance, type InstanceOptions, startInstance } from '../harness/instance.ts'
import { ekSpki } from '../harness/keys.ts'
import {
  agentStatus,
  eventually,
  metabind,
  NOBODY,
  newToken,
  scratch,
  statusOf,
} from '../harness/metabind.ts'
import { defineNv, EK_CERTIFICATE_NV, writeNv } from '../harness/nv.ts'
import { requireRoot } from '../harness/root.ts'

/** Agents that prove who they are: to themselves at start, and to a verifier elsewhere. */

vi.setConfig({ testTimeout: 90_000 })

const REQUIRE = 'ek_certificate = "require"\n'
const NONCE = 'ab'.repeat(32)

let stack: AsyncDisposableStack
let directory: string
beforeEach(async () => {
  stack = new AsyncDisposableStack()
  directory = stack.use(await scratch()).path
})
afterEach(() => stack.disposeAsync())

const at = (name: string) => join(directory, name)

async function started(options: InstanceOptions = {}): Promise<Instance> {
  const instance = await startInstance(directory, options)
  stack.defer(() => instance.stop())
  return instance
}

/** Another agent on the same everything, with more configuration; it need not become ready. */
async function startedWith(
  instance: Instance,
  toml: string,
  through?: readonly string[],
): Promise<AgentProcess> {
  await instance.agent.stop()
  await writeFile(at('extra.toml'), toml)
  const agent = startAgentProcess([at('instance.toml'), at('extra.toml')], {
    ...(through === undefined ? {} : { through }),
  })
  stack.defer(() => agent.stop().then(() => undefined))
  return agent
}

const anchored = () => `[tpm]\n${REQUIRE}ek_anchors = ${JSON.stringify(at('anchors'))}\n`

/** What the verifier of these tests knows: the manufacturer and the cloud. */
const known = () => ['--anchors', at('anchors'), '--identity-certificate', at('cloud.pem')]

const changes = (records: readonly LogRecord[]) =>
  records.filter(({ msg }) => msg === 'instance.changed').map(({ detail }) => detail)

describe('evidence and the ceremony, by files', () => {
  test('an agent proves to a verifier elsewhere that its keys are in its TPM', async () => {
    const instance = await started({ certified: true, config: anchored() })
    const run = async (...args: string[]) => {
      const done = await metabind(instance, args)
      expect(done.stderr).toBe('')
      expect(done.code).toBe(0)
      return done.stdout
    }
    const bind = 'A1'.repeat(64)
    await run('evidence', '--nonce', NONCE, '--bind', bind, '--out', at('evidence'))
    const asked = ['--nonce', NONCE, '--bind', bind, ...known(), '--demand-document']
    const alone = await metabind(instance, ['verify', at('evidence'), ...asked])
    expect(alone.code).toBe(3)
    expect(alone.stdout).toMatch(/^not proven +Nobody has checked that the attestation key/m)

    const files = ['--out', at('challenge'), '--secret-out', at('secret')]
    await run('verify', 'challenge', at('evidence'), ...asked, ...files)
    await run('activate', at('challenge'), '--out', at('answer'))
    const finished = await run('verify', 'finish', at('answer'), '--secret', at('secret'))
    expect(finished).toMatch(/^proven: AK 000b[0-9a-f]{64} is in the TPM of EK 000c/)

    const activated = ['--answer', at('answer'), '--secret', at('secret'), '--json']
    const verified = JSON.parse(await run('verify', at('evidence'), ...asked, ...activated))
    const { identity } = await agentStatus(instance)
    expect(verified).toMatchObject({
      verified: true,
      provisional: false,
      instanceId: identity?.instanceId,
      iid: identity?.iid,
      bind: bind.toLowerCase(),
      proven: ['ek-genuine', 'ak-in-tpm', 'instance-from-cloud', 'bound'],
    })
    const audited = instance.agent.records.filter(({ audit }) => audit === true)
    expect(audited.map(({ msg }) => msg)).toEqual(
      expect.arrayContaining(['evidence.made', 'challenge.answered']),
    )
  })

  test('a replayed evidence, an altered challenge and one for another TPM are refused', async () => {
    const instance = await started({ certified: true })
    const refused = async (...args: string[]) => {
      const { code, stderr } = await metabind(instance, args)
      expect(code).toBe(1)
      return stderr.split(':')[1]?.trim()
    }
    await metabind(instance, ['evidence', '--nonce', NONCE, '--out', at('evidence')])
    const asked = (nonce: string) => [at('evidence'), '--nonce', nonce, ...known()]
    expect(await refused('verify', ...asked('cd'.repeat(32)))).toBe('VERIFY_NONCE')

    const files = ['--out', at('challenge'), '--secret-out', at('secret')]
    await metabind(instance, ['verify', 'challenge', ...asked(NONCE), ...files])
    const challenge = JSON.parse(await readFile(at('challenge'), 'utf8'))
    const blob = Buffer.from(challenge.credentialBlob, 'base64')
    blob[5] = (blob[5] ?? 0) ^ 1
    const altered = { ...challenge, credentialBlob: blob.toString('base64') }
    await writeFile(at('altered'), JSON.stringify(altered))
    expect(await refused('activate', at('altered'))).toBe('ACTIVATION_OTHER')
    const otherDigit = (digit: string) => (digit === '0' ? '1' : '0')
    const others = { ...challenge, akName: challenge.akName.replace(/.$/, otherDigit) }
    await writeFile(at('others'), JSON.stringify(others))
    expect(await refused('activate', at('others'))).toBe('ACTIVATION_OTHER')
    expect(await refused('activate', at('evidence'))).toMatch(/^VERIFY_(FORMAT|SIZE)$/)
    expect(await refused('activate', at('missing'))).toBe('FILE_UNUSABLE')
    // None of this did any harm.
    expect((await metabind(instance, ['activate', at('challenge')])).code).toBe(0)
  })

  test('wrong usage is told, and only who may use the admin socket gets evidence', async (context) => {
    const instance = await started()
    for (const nonce of ['', 'ab', 'zz'.repeat(16), 'ab'.repeat(65), 'random']) {
      const { code, stderr } = await metabind(instance, ['evidence', '--nonce', nonce])
      expect([code, stderr]).toEqual([2, expect.stringContaining('16 to 64 bytes in hex')])
    }
    expect((await metabind(instance, ['activate'])).code).toBe(2)
    const capitals = ['evidence', '--nonce', 'AB'.repeat(16)]
    const { stdout } = await metabind(instance, capitals)
    expect(JSON.parse(stdout)).toMatchObject({ nonce: 'ab'.repeat(16) })
    requireRoot(context, 'becomes another user')
    const { stderr } = await metabind(instance, capitals, { uid: NOBODY })
    expect(stderr).toContain('SOCKET_NOT_PERMITTED')
  })
})

test('foreign keys at persistent handles change nothing', async () => {
  const instance = await started({ certified: true, config: anchored() })
  const before = await agentStatus(instance)
  await tpm2(instance.tpm, 'createprimary', '-C', 'o', '-G', 'ecc', '-c', 'foreign.ctx')
  // Where the manufacturer left its EK: the owner of the TPM may replace it.
  await tpm2(instance.tpm, 'evictcontrol', '-C', 'o', '-c', '0x81010001')
  for (const handle of ['0x81010001', '0x81000001', '0x81000003']) {
    await tpm2(instance.tpm, 'flushcontext', '-t')
    await tpm2(instance.tpm, 'evictcontrol', '-C', 'o', '-c', 'foreign.ctx', handle)
  }
  await tpm2(instance.tpm, 'flushcontext', '-t')
  await instance.restartAgent()
  expect(await agentStatus(instance)).toEqual(before)
  const made = await metabind(instance, ['evidence', '--nonce', NONCE])
  const anchors = await readdir(at('anchors'))
  const options: VerifyOptions = {
    nonce: Buffer.from(NONCE, 'hex'),
    now: new Date(),
    allowProvisional: true,
    trust: {
      ekAnchors: await Promise.all(anchors.map((name) => readFile(join(at('anchors'), name)))),
      identityCertificate: await readFile(at('cloud.pem')),
    },
  }
  const { ak } = verifyEvidence(Buffer.from(made.stdout), options)
  expect(ak.name).toBe(before.identity?.akName)
})

describe('a self-test that fails', () => {
  test('the EK certificate of another TPM: never ready; ready once it is gone', async () => {
    const other = await startSwtpm()
    stack.defer(() => other.stop())
    const publicKey = await ekSpki(other.tcti)
    const certificate = makeEkCertificate(makeAuthority('Maker'), publicKey)
    const instance = await started()
    await writeNv(instance.tpm, EK_CERTIFICATE_NV, certificate)
    const agent = await startedWith(instance, '')
    const waits = await agent.until(({ msg }) => msg === 'boot waits')
    expect(waits).toMatchObject({ state: 'self-testing', code: 'VERIFY_CERTIFICATE_KEY' })

    const shown = await metabind(instance, ['status'])
    expect(shown.code).toBe(1)
    expect(shown.stdout).toMatch(
      /^problem +VERIFY_CERTIFICATE_KEY: The certificate is of another key/m,
    )
    expect(shown.stdout).toMatch(/^try +The certificate belongs to another TPM/m)
    const refused = await metabind(instance, ['token'])
    expect(refused.stderr).toContain('AGENT_NOT_READY')
    const evidence = await metabind(instance, ['evidence', '--nonce', NONCE])
    expect(evidence.stderr).toContain('AGENT_NOT_READY')
    expect(agent.records.some(({ msg }) => msg === 'ready')).toBe(false)

    await tpm2(instance.tpm, 'nvundefine', '-C', 'p', `0x${EK_CERTIFICATE_NV.toString(16)}`)
    await agent.ready()
    expect(await statusOf(instance, await newToken(instance))).toBe(200)
  })

  test('an EK certificate that cannot be read: require names it, prefer reports it', async () => {
    const instance = await started()
    await defineNv(instance.tpm, EK_CERTIFICATE_NV, 800)
    const says = /NV index 0x01c0000a: .*TPM_RC_NV_UNINITIALIZED/
    const agent = await startedWith(instance, `[tpm]\n${REQUIRE}`)
    const waits = await agent.until(({ msg }) => msg === 'boot waits')
    expect(waits).toMatchObject({ state: 'self-testing', code: 'TPM_NV_UNREADABLE' })
    const shown = await metabind(instance, ['status'])
    expect(shown.stdout).toMatch(/^problem +TPM_NV_UNREADABLE: .*NV index 0x01c0000a: /m)
    await agent.stop()

    const preferring = await startedWith(instance, '')
    await preferring.ready()
    expect((await metabind(instance, ['status'])).stdout).toMatch(/^unread +NV index 0x01c0000a: /m)
    const warned = preferring.records.find(({ level }) => level === 'warn')
    expect(warned).toMatchObject({ unreadable: [expect.stringMatching(says)] })
    await preferring.stop()

    const ignoring = await startedWith(instance, '[tpm]\nek_certificate = "ignore"\n')
    await ignoring.ready()
    expect((await metabind(instance, ['status'])).stdout).not.toMatch(/^unread/m)
  })

  test('anchors: a bad file keeps the old ones, the right one lets the agent start', async () => {
    const instance = await started({ certified: true })
    await mkdir(at('trusted'))
    await writeFile(at('trusted/a.der'), makeAuthority('Another Authority').der)
    const agent = await startedWith(
      instance,
      `[tpm]\n${REQUIRE}ek_anchors = ${JSON.stringify(at('trusted'))}\n`,
    )
    const code = 'VERIFY_CERTIFICATE_ISSUER'
    await agent.until((record) => record.msg === 'boot waits' && record.code === code)

    await writeFile(at('trusted/bad.pem'), 'no certificate')
    agent.child.kill('SIGHUP')
    const kept = await agent.until(({ msg }) => String(msg).includes('not reloaded'))
    expect(kept).toMatchObject({ level: 'error', cause: expect.stringContaining('anchor') })
    const { problem } = await agentStatus(instance)
    expect(problem).toMatchObject({ code, remedy: expect.any(String) })

    await rm(at('trusted/bad.pem'))
    await cp(at('anchors'), at('trusted'), { recursive: true })
    agent.child.kill('SIGHUP')
    await agent.ready()
    expect(await agentStatus(instance)).toMatchObject({
      ready: true,
      selfTest: { anchor: 'ek-certificate' },
    })
  })

  test('a document that another signed; status says what is lacking once it is ignored', async () => {
    const instance = await started()
    // The certificate of Alibaba Cloud itself: the simulator does not sign with its key.
    const builtIn = (await readFile(at('instance.toml'), 'utf8')).replace(/^identity_cert.*$/m, '')
    await writeFile(at('instance.toml'), builtIn)
    const agent = await startedWith(instance, '')
    await agent.until(({ code }) => code === 'VERIFY_DOCUMENT_SIGNATURE')
    const before = JSON.parse((await metabind(instance, ['status', '--json'])).stdout)
    expect(before).toMatchObject({
      ready: false,
      problem: { code: 'VERIFY_DOCUMENT_SIGNATURE', remedy: expect.any(String) },
    })
    expect(before).not.toHaveProperty('selfTest')

    await agent.stop()
    const other = await startedWith(instance, '[source]\nidentity_document = "ignore"\n')
    await other.ready()
    const after = JSON.parse((await metabind(instance, ['status', '--json'])).stdout)
    expect(after).toMatchObject({ ready: true, state: 'ready', selfTest: { anchor: 'none' } })
    expect(after).not.toHaveProperty('problem')
    const { stdout } = await metabind(instance, ['status'])
    expect(stdout).toMatch(/^anchor +none: no certificate chain/m)
    expect(stdout).toMatch(/^proven +The attestation key is in that TPM/m)
    expect(stdout).toMatch(/^lacked +The cloud has not said what instance this is/m)
    expect(stdout).not.toContain('PCR values were accepted')
  })

  test('a cloud without documents: require waits for one, prefer does without', async () => {
    const instance = await started()
    instance.cloud?.faults.set({ kind: 'status', code: 404, path: PKCS7_PATH })
    const agent = await startedWith(instance, '[source]\nidentity_document = "require"\n')
    await agent.until(({ code }) => code === 'VERIFY_DOCUMENT_ABSENT')
    instance.cloud?.faults.clear()
    await agent.ready()
    instance.cloud?.faults.set({ kind: 'reset', path: PKCS7_PATH })
    await agent.stop()
    const preferring = await startedWith(instance, '')
    await preferring.ready()
    expect((await selfTestOf(instance)).lacked).toContain('instance-from-cloud')
  })

  test('a pin vouches where the EK has no certificate', async () => {
    const instance = await started()
    const { stdout } = await metabind(instance, ['evidence', '--nonce', NONCE])
    const ek = Buffer.from(JSON.parse(stdout).ek.public, 'base64')
    const pinned = spkiDigest(parsePublic(ek))
    const agent = await startedWith(instance, `[tpm]\n${REQUIRE}ek_pins = ["${pinned}"]\n`)
    await agent.ready()
    expect((await selfTestOf(instance)).anchor).toBe('ek-pin')
  })
})

const PKCS7_PATH = '/latest/dynamic/instance-identity/pkcs7'

async function selfTestOf(instance: Instance): Promise<{ anchor: string; lacked: string[] }> {
  return JSON.parse((await metabind(instance, ['status', '--json'])).stdout).selfTest
}

/** Sockets of a TPM are not copied. */
function isFile(path: string): boolean {
  return !/\/s(?:\.ctrl)?$/.test(path)
}

describe('clones and resets', () => {
  test('another TPM under the same disk is a clean start with one line', async () => {
    const instance = await started()
    const token = await newToken(instance)
    const before = await agentStatus(instance)
    await instance.stop()
    await rm(at('tpm'), { recursive: true })
    const clone = await started({ instanceId: before.identity?.instanceId })
    expect(changes(clone.agent.records)).toEqual([
      `another TPM; the EK was ${before.identity?.ekName}`,
    ])
    expect(await statusOf(clone, token)).toBe(401)
    expect(await statusOf(clone, await newToken(clone))).toBe(200)
    await clone.restartAgent()
    expect(changes(clone.agent.records)).toEqual([])
  })

  test('a cleared TPM is audited once, and a new self-test passes', async () => {
    const instance = await started()
    await instance.agent.stop()
    await tpm2(instance.tpm, 'clear', '-c', 'p')
    await instance.restartAgent()
    expect(changes(instance.agent.records)).toEqual(['tpm-cleared'])
    expect(instance.agent.records.some(({ msg }) => msg === 'self-test passed')).toBe(true)
    await instance.restartAgent()
    expect(changes(instance.agent.records)).toEqual([])
  })

  test('two cold clones: a verifier with the record of one refuses the other', async () => {
    const original = await started({ certified: true })
    await original.agent.stop()
    await original.tpm.kill()
    const other = stack.use(await scratch()).path
    for (const name of ['tpm', 'state', 'anchors']) {
      await cp(at(name), join(other, name), { recursive: true, filter: isFile })
    }
    await original.tpm.start()
    await original.restartAgent()
    const instanceId = original.cloud?.instanceId
    const clone = await startInstance(other, { instanceId })
    stack.defer(() => clone.stop())
    expect(await agentStatus(clone)).toMatchObject({
      identity: (await agentStatus(original)).identity,
    })
    // Both have been reset once since: neither can tell by itself.
    expect(changes(clone.agent.records)).toEqual([])

    const verified = async (instance: Instance, last?: VerifyOptions['last']) => {
      const nonce = randomBytes(32)
      const asked = ['evidence', '--nonce', nonce.toString('hex')]
      const { stdout } = await metabind(instance, asked)
      const anchors = (await readdir(at('anchors'))).map((name) => join(at('anchors'), name))
      return verifyEvidence(Buffer.from(stdout), {
        nonce,
        now: new Date(),
        allowProvisional: true,
        trust: {
          ekAnchors: await Promise.all(anchors.map((name) => readFile(name))),
          identityCertificate: await readFile(at('cloud.pem')),
        },
        last,
      }).record
    }
    await clone.agent.stop()
    await clone.tpm.reset()
    await clone.restartAgent()
    const ahead = await verified(clone)
    await expect(verified(original, ahead)).rejects.toMatchObject({ code: 'VERIFY_ROLLED_BACK' })
    await verified(clone, ahead)
  })

  test('counters that went back are audited, and the agent starts', async () => {
    const instance = await started()
    await instance.agent.stop()
    await instance.tpm.kill()
    await cp(at('tpm'), at('old-tpm'), { recursive: true, filter: isFile })
    await instance.tpm.start()
    for (let resets = 0; resets < 2; resets += 1) {
      await instance.tpm.reset()
      // Its answer says that it has started, and counted the reset.
      await tpm2(instance.tpm, 'getrandom', '--hex', '1')
    }
    await instance.restartAgent()
    expect(changes(instance.agent.records)).toEqual([])
    await instance.agent.stop()
    await instance.tpm.kill()
    await cp(at('old-tpm'), at('tpm'), { recursive: true })
    await instance.tpm.start()
    await instance.restartAgent()
    expect(changes(instance.agent.records)).toEqual(['counters-back'])
  })

  test('a restored machine tests itself anew, and stops for as long as it fails', async (context) => {
    requireRoot(context, 'mounts a vmclock device')
    const instance = await started()
    await writeVmclock(1n)
    const through = await underVmclock()
    const agent = await startedWith(instance, '[tpm]\nrecheck_seconds = 1\n', through)
    await agent.ready()
    const token = await newToken(instance)
    await writeVmclock(2n)
    await agent.until(({ msg }) => msg === 'self-test.passed')
    expect(changes(agent.records)).toEqual(['vm-generation'])
    expect(await statusOf(instance, token)).toBe(200)

    // What was restored is another instance now, says the cloud.
    instance.cloud?.faults.set({ kind: 'status', code: 200, body: 'AAAA', path: PKCS7_PATH })
    await writeVmclock(3n)
    await agent.until(({ msg, code }) => msg === 'agent.stopped' && code === 'VERIFY_DOCUMENT')
    expect(await statusOf(instance, token)).toBe(503)
    const evidence = await metabind(instance, ['evidence', '--nonce', NONCE])
    expect(evidence.stderr).toContain('AGENT_NOT_READY')
    // Several turns later: that nothing changes any more does not make up for the test.
    await new Promise((resolve) => setTimeout(resolve, 3000))
    expect((await agentStatus(instance)).problem?.code).toBe('VERIFY_DOCUMENT')
    instance.cloud?.faults.clear()
    await eventually(
      () => agentStatus(instance),
      ({ ready }) => ready,
    )
    expect(await statusOf(instance, token)).toBe(200)
  })

  /** A page of the kernel's vmclock device, written over the one before. */
  async function writeVmclock(generation: bigint): Promise<void> {
    const page = Buffer.alloc(4096)
    page.write('VCLK', 0, 'latin1')
    page.writeBigUInt64LE(1n << 8n, 24)
    page.writeBigUInt64LE(generation, 104)
    await writeFile(at('vmclock'), page, { flag: generation === 1n ? 'w' : 'r+' })
  }

  /** A /dev of the agent's own, in which the device is. */
  async function underVmclock(): Promise<string[]> {
    await mkdir(at('dev'), { recursive: true })
    const script = `set -e
mount -t tmpfs none "$0"
for name in null urandom random zero; do touch "$0/$name"; mount --bind "/dev/$name" "$0/$name"; done
touch "$0/vmclock0"
mount --bind "$1" "$0/vmclock0"
mount --rbind "$0" /dev
shift
exec "$@"`
    return ['unshare', '--mount', 'sh', '-c', script, at('dev'), at('vmclock')]
  }
})
