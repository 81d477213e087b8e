import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { cp, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { sharedSigner } from '../../src/simulate/signer.ts'
import { type StandInSts, standInSts } from '../clients/stand-in-sts.ts'
import { freePort } from '../harness/free-port.ts'
import { type Instance, startInstance } from '../harness/instance.ts'
import {
  agentStatus,
  eventually,
  type Finished,
  metabind,
  newToken,
  read,
  runNode,
  scratch,
} from '../harness/metabind.ts'
import { registrarCommand } from './registrar-command.ts'
import { type RegistrarProcess, startRegistrarProcess } from './registrar-process.ts'

/**
 * The story of a fleet, told with real commands and their real answers: `./dev fleet [N]`. It exits with 0 only if
 * every step went as told.
 */

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const SDK = join(ROOT, 'test/clients/use-federated.cjs')
const INSTANCES_MAX = 8
const STEPS = 9
// A machine that is busy with something else is given its time.
const WAIT_MS = 180_000
const AUDIENCE = 'sts.aliyuncs.com'
const ROLE = 'acs:ram::1234567890123456:role/app'
const PROVIDER = 'acs:ram::1234567890123456:oidc-provider/fleet'
const USER = process.getuid?.() ?? 0
const POLICY = `[[rule]]
effect = "allow"
users = [${USER}]
paths = ["/metabind/v1/token"]
audiences = ["*"]

[[rule]]
effect = "allow"
users = [${USER}]
paths = ["/**"]
`

const isTerminal = process.stdout.isTTY && !process.env.NO_COLOR
const bold = (text: string) => (isTerminal ? `\x1b[1m${text}\x1b[0m` : text)
const dim = (text: string) => (isTerminal ? `\x1b[2m${text}\x1b[0m` : text)
const print = (text: string) => process.stdout.write(`${text}\n`)

class Untrue extends Error {}

function hold(isTrue: boolean, what: string): asserts isTrue {
  if (!isTrue) throw new Untrue(what)
}

interface Member {
  readonly name: string
  readonly instance: Instance
}

/** What the steps share; they run in the order of the file. */
class Fleet {
  readonly #directory: string
  readonly #stack: AsyncDisposableStack
  readonly #count: number
  #step = 0
  #config = ''
  #url = ''
  #registrar: RegistrarProcess | undefined
  #sts: StandInSts | undefined

  constructor(directory: string, stack: AsyncDisposableStack, count: number) {
    this.#directory = directory
    this.#stack = stack
    this.#count = count
  }

  async tell(): Promise<void> {
    print(bold(`The story of a fleet of ${this.#count}, in nine steps and about a minute.`))
    await this.#startRegistrar()
    const members = await this.#startMembers()
    const [one, two] = members
    hold(one !== undefined && two !== undefined, 'there are two instances')
    await this.#approve(members)
    await this.#useRole(one)
    await this.#misuse(two)
    await this.#stealDisk(one)
    await this.#copyMachine(one)
    await this.#loseRegistrar(two)
    await this.#endAll()
  }

  async #startRegistrar(): Promise<void> {
    this.#next(
      'A registrar starts. It knows the key of the cloud, and no TPM: whom it sees first, it holds.',
    )
    const file = this.#at('registrar.pem')
    const keyFile = this.#at('registrar.key')
    certify(file, keyFile)
    await writeFile(this.#at('cloud.pem'), (await sharedSigner()).certificatePem)
    await writeFile(this.#at('policy.toml'), POLICY, { mode: 0o600 })
    const port = await freePort()
    this.#url = `https://localhost:${port}`
    this.#config = `[registrar]
url = "${this.#url}"
address = "127.0.0.1"
authorities = "${file}"
[policy]
file = "${this.#at('policy.toml')}"
`
    const more = `request_burst = 1000
[tls]
certificate = "${file}"
key = "${keyFile}"
[trust]
identity_certificate = "${this.#at('cloud.pem')}"
[admission]
unanchored = "hold"
[[audience]]
name = "${AUDIENCE}"
[[audience]]
name = "other.example"
`
    this.#registrar = await startRegistrarProcess(this.#at('registrar'), more, {
      url: this.#url,
      port,
    })
    const { end } = this.#registrar
    this.#stack.defer(() => end())
    const address = `${this.#url}/.well-known/openid-configuration`
    const args = ['--silent', '--show-error', '--fail', '--cacert', file, address]
    const answer = execFileSync('curl', args, { encoding: 'utf8' })
    this.#show('', `curl ${address}`, answer)
    hold(JSON.parse(answer).issuer === this.#url, 'it names itself as the issuer')
  }

  async #startMembers(): Promise<Member[]> {
    const names = Array.from({ length: this.#count }, (_, at) => `i${at + 1}`)
    this.#next(
      `${this.#count} instances start, each with a TPM, a metadata server and an agent. The agents enrol by themselves, and wait.`,
    )
    const members: Member[] = []
    for (const name of names) members.push(await this.#start(name, `i-fleet-${name}`))
    for (const { instance } of members) await becomes(instance, 'held')
    const { stdout } = await this.#administer('list')
    hold(stdout.match(/ held /g)?.length === this.#count, 'all are held')
    return members
  }

  async #approve(members: readonly Member[]): Promise<void> {
    this.#next(
      'An administrator lets them in. Their agents would ask within a minute; here they are started anew.',
    )
    for (const { name, instance } of members) {
      await this.#administer('approve', `i-fleet-${name}`)
      await instance.restartAgent()
    }
    for (const { instance } of members) await becomes(instance, 'enrolled')
    for (const member of members) {
      const { stdout } = await this.#ask(member, ['status'])
      const line = stdout.split('\n').find((one) => one.startsWith('registrar')) ?? ''
      this.#show(member.name, 'metabind status | grep ^registrar', line)
      hold(line.includes('enrolled as'), `${member.name} is enrolled`)
    }
  }

  async #useRole(one: Member): Promise<void> {
    this.#next(
      "A program on i1 has a cloud's role, and no secret: an SDK of Alibaba Cloud changes the token for credentials. What stands in for the cloud finds the registrar's keys by discovery.",
    )
    const leaf = { file: this.#at('registrar.pem'), keyFile: this.#at('registrar.key') }
    const subject = (await agentStatus(one.instance)).registrar?.subject ?? ''
    const trusted = { url: this.#url, authorities: leaf.file, subject }
    this.#sts = this.#stack.use(await standInSts(leaf, trusted))
    const answer = await this.#credentials(one)
    hold(answer.includes('"accessKeyId":"STANDIN"'), 'the SDK has credentials')
    const [, claims = ''] = (await readFile(this.#at('i1.token'), 'utf8')).split('.')
    this.#say('i1', 'its token says', Buffer.from(claims, 'base64url').toString())
  }

  async #misuse(two: Member): Promise<void> {
    this.#next('The role trusts i1 alone. i2 has tokens, too, and they name i2.')
    const answer = await this.#credentials(two)
    hold(answer.includes('refused'), 'the cloud refuses it')
    const why = this.#sts?.found.at(-1) ?? ''
    this.#say('cloud', 'why', why)
    hold(why.includes('"sub"'), 'for its subject')
  }

  async #stealDisk({ instance }: Member): Promise<void> {
    this.#next(
      "A thief takes i1's disk, its instance id and a session token to another machine. The TPM there is another one.",
    )
    const stolen = await newToken(instance)
    await this.#copy('i1', 'thief', ['run', 'state'])
    const thief = await this.#start('thief', 'i-fleet-i1')
    const path = `/metabind/v1/token?audience=${AUDIENCE}`
    const { status, body } = await read(thief.instance, stolen, path)
    this.#show(
      'thief',
      `curl -H 'the session token of i1' http://metadata${path}`,
      `${status} ${body}`,
    )
    hold(status === 401, 'the session token is worth nothing there')
    const seen = await becomes(thief.instance, 'refused')
    this.#say('thief', 'registrar', told(seen))
    hold(told(seen).includes('ENROL_REINSTALLED'), 'it is known to be another machine')
    await thief.instance.stop()
  }

  async #copyMachine({ name, instance }: Member): Promise<void> {
    this.#next(
      'The whole of i1 is copied, its virtual TPM too. The copy looks like a restored i1, and has its tokens, until i1 enrols again: two go on from one. Then neither has any.',
    )
    await instance.stop()
    await this.#copy(name, 'copy', ['tpm', 'run', 'state'])
    const again = await this.#start(name, `i-fleet-${name}`)
    await becomes(again.instance, 'enrolled')
    const copy = await this.#start('copy', `i-fleet-${name}`)
    await becomes(copy.instance, 'enrolled')
    await again.instance.restartAgent()
    const seen = await becomes(again.instance, 'refused')
    this.#say(name, 'registrar', told(seen))
    // The second, if the answer with the first was lost on a busy machine.
    hold(
      /ENROL_(?:CLONED|SUSPENDED)/.test(told(seen)),
      `${name} is refused as a copy: ${told(seen)}`,
    )
    const other = await this.#ask(copy, ['federate', 'token', '--audience', 'other.example'])
    hold(other.code !== 0, 'the copy has no token any more')
    this.#show('copy', 'metabind federate token --audience other.example', other.stderr)
    const { stdout } = await this.#administer('show', `i-fleet-${name}`)
    hold(/^state +suspended$/m.test(stdout), 'it is suspended')
    hold(/^reason +.*last accepted from .*, now from/m.test(stdout), 'both sources are named')
    for (const member of [again, copy]) await member.instance.stop()
  }

  async #loseRegistrar(two: Member): Promise<void> {
    this.#next('The registrar ends. i2 has its token for as long as that is good, and no new one.')
    await this.#registrar?.end()
    const kept = await this.#ask(two, ['federate', 'token', '--audience', AUDIENCE])
    this.#show(
      'i2',
      `metabind federate token --audience ${AUDIENCE}`,
      `${kept.stdout.slice(0, 60)}…`,
    )
    hold(kept.code === 0, 'i2 has its token')
    const other = await this.#ask(two, ['federate', 'token', '--audience', 'other.example'])
    this.#show('i2', 'metabind federate token --audience other.example', other.stderr)
    hold(other.stderr.includes('FEDERATION_DOWN'), 'another it cannot have')
  }

  async #endAll(): Promise<void> {
    this.#next('All ends, and nothing is left.')
    await this.#stack.disposeAsync()
    const left = await children()
    const files = existsSync(this.#directory)
    print(`${left.length} processes, ${files ? 'a directory' : 'no files'}`)
    hold(left.length === 0 && !files, 'nothing is left')
    print(bold('\nEvery step went as told.'))
  }

  async #start(name: string, instanceId: string): Promise<Member> {
    const directory = this.#at(name)
    const instance = await startInstance(directory, { instanceId, config: this.#config })
    this.#stack.defer(() => instance.stop())
    this.#say(name, `an instance with the id ${instanceId}`, 'ready')
    return { name, instance }
  }

  async #copy(from: string, to: string, parts: readonly string[]): Promise<void> {
    const words = parts.map((part) => `${from}/${part}`)
    this.#show('', `cp -a ${words.join(' ')} ${to}/`, '')
    for (const part of parts) {
      // The sockets of a TPM are no part of it.
      const filter = (file: string) => !/\/s(?:\.ctrl)?$/.test(file)
      const options = { recursive: true, filter, preserveTimestamps: true }
      await cp(join(this.#at(from), part), join(this.#at(to), part), options)
    }
  }

  /** What the SDK says to what `metabind federate aliyun` has printed. */
  async #credentials({ name, instance }: Member): Promise<string> {
    const out = this.#at(`${name}.token`)
    const args = ['federate', 'aliyun', '--role', ROLE, '--provider', PROVIDER, '--out', out]
    const printed = await metabind(instance, args)
    this.#show(name, `metabind ${args.join(' ')}`, printed.stdout || printed.stderr)
    hold(printed.code === 0, `${name} has a token`)
    const lines = printed.stdout.split('\n').filter((line) => line.includes('='))
    const env = {
      ...Object.fromEntries(lines.map((line) => line.split('=', 2))),
      STS_HOST: this.#sts?.host,
      NODE_EXTRA_CA_CERTS: this.#at('registrar.pem'),
    }
    const { stdout, stderr } = await runNode([SDK, 'aliyun', join(ROOT, 'node_modules')], { env })
    this.#say(name, "Alibaba Cloud's SDK has", stdout || stderr)
    return stdout
  }

  #ask({ instance }: Member, args: readonly string[]): Promise<Finished> {
    return metabind(instance, args)
  }

  async #administer(...args: readonly string[]): Promise<Finished> {
    hold(this.#registrar !== undefined, 'there is a registrar')
    const done = await registrarCommand(this.#registrar, ...args)
    this.#show('registrar', `metabind-registrar ${args.join(' ')}`, done.stdout || done.stderr)
    hold(done.code === 0, `metabind-registrar ${args[0]} ends with 0`)
    return done
  }

  /** Says how far it is: some steps take seconds, as agents and TPMs start. */
  #next(sentence: string): void {
    this.#step += 1
    const seconds = Math.round(process.uptime())
    print(bold(`\n[${this.#step}/${STEPS}, ${seconds} s] ${sentence}`))
  }

  /** A command, and what it printed. */
  #show(where: string, command: string, answer: string): void {
    this.#line(`${where}${where === '' ? '' : ' '}$ ${command}`, answer)
  }

  /** What was seen otherwise. */
  #say(where: string, what: string, answer: string): void {
    this.#line(`${where}: ${what}:`, answer)
  }

  /** Without the directory of this run in names of files. */
  #line(head: string, answer: string): void {
    const plain = (text: string) => text.replaceAll(`${this.#directory}/`, '').trimEnd()
    print(dim(plain(head)))
    if (answer !== '') print(plain(answer))
  }

  readonly #at = (name: string): string => join(this.#directory, name)
}

/** For localhost, by itself, and good for a day. */
function certify(file: string, keyFile: string): void {
  const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '1']
  const name = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost']
  const out = ['-keyout', keyFile, '-out', file]
  execFileSync('openssl', ['req', '-x509', ...kind, ...name, ...out], { stdio: 'pipe' })
}

type Standing = Awaited<ReturnType<typeof agentStatus>>['registrar']

async function becomes(instance: Instance, state: string): Promise<Standing> {
  const look = async () => (await agentStatus(instance)).registrar
  return eventually(look, (seen) => seen?.state === state, WAIT_MS)
}

const told = (seen: Standing): string =>
  `${seen?.state}: ${seen?.problem?.code}: ${seen?.problem?.sentence}`

/** Registrar, agents and TPMs are all children of this process. */
async function children(): Promise<string[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name))
  const parents = pids.map(async (pid) => {
    const stat = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => '')
    // After the name, which may have anything in it.
    const [, parent] = stat.slice(stat.lastIndexOf(') ') + 2).split(' ')
    return Number(parent) === process.pid ? [pid] : []
  })
  return (await Promise.all(parents)).flat()
}

const [word = '2', ...others] = process.argv.slice(2)
const count = Number(word)
if (others.length > 0 || !Number.isInteger(count) || count < 2 || count > INSTANCES_MAX) {
  process.stderr.write(`dev fleet: N is a number from 2 to ${INSTANCES_MAX} (try ./dev help)\n`)
  process.exit(2)
}

const stack = new AsyncDisposableStack()
for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const) {
  process.once(signal, () => void stack.disposeAsync().finally(() => process.exit(code)))
}
try {
  await new Fleet(stack.use(await scratch()).path, stack, count).tell()
} catch (error) {
  const why = error instanceof Untrue ? error.message : String(error)
  process.stderr.write(`\nThis did not go as told: ${why}\n`)
  process.exitCode = 1
} finally {
  await stack.disposeAsync()
}
