from starlette.applications import Starlette
def create_pages_app(public_url): return Starlette()
