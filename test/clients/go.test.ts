import { execFile } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Instance, startInstance } from '../harness/instance.ts'
import { metabind, scratch } from '../harness/metabind.ts'
import { openProductEndpoint, PRODUCTS } from './product-endpoint.ts'
import { recipe } from './recipe.ts'

/** The Go programs of docs/sdks.md, with Debian's Go and its library of OSS. */

const run = promisify(execFile)
const GO = '/usr/bin/go'
const PATH_OF_DEBIAN = '/usr/share/gocode'
const SDK = `${PATH_OF_DEBIAN}/src/github.com/aliyun/aliyun-oss-go-sdk/oss`

describe.skipIf(!existsSync(GO) || !existsSync(SDK))('Go [./dev test-clients installs it]', () => {
  let stack: AsyncDisposableStack
  let path: string
  let instance: Instance

  beforeAll(async () => {
    stack = new AsyncDisposableStack()
    path = stack.use(await scratch()).path
    instance = await startInstance(join(path, 'instance'))
    stack.defer(() => instance.stop())
  })
  afterAll(() => stack?.disposeAsync())

  async function build(name: string, addresses: Readonly<Record<string, string>>): Promise<string> {
    const [program, source] = [join(path, name), join(path, `${name}.go`)]
    writeFileSync(source, recipe(`${name}.go`, addresses))
    const env = { PATH: '/usr/bin:/bin', GO111MODULE: 'off', GOPATH: PATH_OF_DEBIAN }
    await run(GO, ['build', '-o', program, source], {
      env: { ...env, GOCACHE: join(path, 'cache'), CGO_ENABLED: '0' },
    })
    return program
  }

  test('plain HTTP over the socket', async () => {
    const socket = { '/run/metabind/metadata.sock': instance.metadataSocket }
    expect((await run(await build('metadata', socket))).stdout).toBe('cn-hangzhou\n')
  })

  test('the OSS SDK under metabind exec --with env', async () => {
    const { stdout } = await metabind(instance, ['get', 'ram/security-credentials/demo-role'])
    const endpoint = await openProductEndpoint(PRODUCTS.oss, JSON.parse(stdout))
    stack.defer(() => endpoint.close())
    const program = await build('oss', {
      'https://oss-cn-hangzhou.aliyuncs.com': `http://${endpoint.address}`,
    })
    const ran = await metabind(instance, ['exec', '--with', 'env', '--', program])
    expect(ran.stderr).toBe('')
    expect(ran.stdout).toBe('one\ntwo\n')
    expect(endpoint.found).toEqual(['good'])
    // Without metabind it has nothing to sign with.
    await expect(run(program)).rejects.toThrow(/InvalidAccessKeyId|403/)
  })
})
