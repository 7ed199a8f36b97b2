from django.urls import path

from . import views

urlpatterns = [
    path("", views.orders, name="orders"),
    path("orders/<int:pk>/", views.order, name="order"),
    path("orders/<int:pk>/attachment", views.attachment, name="attachment"),
    path("up", views.up),
]
