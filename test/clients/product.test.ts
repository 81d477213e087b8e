import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Instance, startInstance } from '../harness/instance.ts'
import { metabind, scratch } from '../harness/metabind.ts'
import { installTarballs, packNpm } from '../packages/installed.ts'
import { ROOT } from '../pages/block.ts'
import { openProductEndpoint, PRODUCTS, type ProductEndpoint } from './product-endpoint.ts'
import { recipe } from './recipe.ts'

/** The recipes of docs/sdks.md for the client of a product, as they stand there but for two addresses. */

const run = promisify(execFile)
const MODULES = join(ROOT, 'test/clients/product/node_modules')
const OPTIONS = {
  target: 'es2022',
  module: 'nodenext',
  types: ['node'],
  strict: true,
  // The declarations of the product's client and of what it needs are theirs.
  skipLibCheck: true,
}

describe.skipIf(!existsSync(MODULES))(
  '@alicloud/ecs20140526 [./dev test-clients installs it]',
  () => {
    let stack: AsyncDisposableStack
    let instance: Instance
    let application: string
    let endpoint: ProductEndpoint

    beforeAll(async () => {
      stack = new AsyncDisposableStack()
      const { path } = stack.use(await scratch())
      instance = await startInstance(join(path, 'instance'))
      stack.defer(() => instance.stop())
      const { stdout } = await metabind(instance, ['get', 'ram/security-credentials/demo-role'])
      endpoint = await openProductEndpoint(PRODUCTS.ecs, JSON.parse(stdout))
      stack.defer(() => endpoint.close())
      application = await install(path)
    })
    afterAll(() => stack?.disposeAsync())

    /** A stranger's folder: metabind from its tarball, the product's client beside it, the recipes compiled. */
    async function install(path: string): Promise<string> {
      const tarball = (await packNpm(join(path, 'dist'))).find((name) =>
        name.startsWith('metabind-'),
      )
      await installTarballs({ metabind: join(path, 'dist', tarball ?? '') }, join(path, 'stranger'))
      const folder = join(path, 'stranger/application')
      mkdirSync(folder)
      symlinkSync(MODULES, join(folder, 'node_modules'))
      const addresses = {
        "endpoint: 'ecs.cn-hangzhou.aliyuncs.com'": `endpoint: '${endpoint.address}', protocol: 'http'`,
        'openClient()': `openClient({ socket: '${instance.metadataSocket}' })`,
      }
      for (const kind of ['mts', 'cts'])
        writeFileSync(join(folder, `ecs.${kind}`), recipe(`ecs.${kind}`, addresses))
      const project = { compilerOptions: OPTIONS, include: ['*.mts', '*.cts'] }
      writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(project))
      await run(join(ROOT, 'node_modules/.bin/tsc'), ['-p', folder]).catch((error) => {
        throw new Error(error.stdout, { cause: error })
      })
      return folder
    }

    test('the stand-in refuses others', async () => {
      const answered = await fetch(`http://${endpoint.address}/`)
      expect(await answered.json()).toMatchObject({ Code: 'InvalidAccessKeyId' })
    })

    test.each([
      ['an ES module', 'ecs.mjs'],
      ['CommonJS', 'ecs.cjs'],
    ])('as %s signs with the credentials that the agent has', async (_what, program) => {
      const before = endpoint.found.length
      const { stdout } = await run(process.execPath, [join(application, program)])
      expect(endpoint.found.slice(before)).toEqual(['good'])
      expect(stdout).toBe('cn-hangzhou\ncn-beijing\n')
    })
  },
)
